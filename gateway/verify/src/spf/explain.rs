//! `exp=` (RFC 7208 §6.2): the domain's own words for a fail, made safe for a reply.

use super::evaluate::{Evaluation, Match};
use super::macros::{MacroString, Place};
use crate::name::Name;
use crate::resolve::Resolve;

/// Longer explanations are cut; with the reply's own text they fit a few lines of 512 octets.
const MAX_OCTETS: usize = 400;

/// The explanation, if the record that decided names one and it can be had. Whatever goes wrong
/// here changes nothing but that there is none (§6.2).
pub(super) async fn explanation<R: Resolve>(
    evaluation: &mut Evaluation<'_, R>,
    matched: &Match,
) -> Option<String> {
    let exp = matched.exp.as_ref()?;
    let target = evaluation
        .with_context(exp, &matched.domain, MacroString::expand_domain)
        .await;
    let name = Name::parse(&target).ok()?;
    let texts = evaluation.resolver.txt(&name).await.ok()?;
    let [text] = &*texts else { return None };
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.is_ascii())?;
    let macros = MacroString::parse(text, Place::Explanation)?;
    let text = evaluation
        .with_context(&macros, &matched.domain, MacroString::expand)
        .await;
    Some(printable(&text)).filter(|text| !text.is_empty())
}

/// Printable ASCII within the limit. Macros can bring in anything that a client wrote.
fn printable(text: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    text.chars().map(safe).take(MAX_OCTETS).collect()
}
