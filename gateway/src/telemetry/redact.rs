//! How much of a mail address telemetry may say (`spec.telemetry.accessLog.recipients`).

use crate::reply::EXPLAINS;
use postern_config::telemetry::Recipients;
use std::borrow::Cow;

/// The address as far as the setting allows; `None` when nothing may be said. The null
/// reverse-path `<>` and `postmaster` say nothing of a person and are kept.
#[must_use]
pub fn address(address: &str, setting: Recipients) -> Option<&str> {
    match setting {
        Recipients::None => None,
        Recipients::Full => Some(address),
        Recipients::Domain => Some(
            address
                .rsplit_once('@')
                .map_or(address, |(_, domain)| domain),
        ),
    }
}

/// All of them, equal ones once.
#[must_use]
pub fn addresses<'a>(list: impl IntoIterator<Item = &'a str>, setting: Recipients) -> Vec<&'a str> {
    let mut said: Vec<&str> = Vec::new();
    for shown in list.into_iter().filter_map(|one| address(one, setting)) {
        if !said.contains(&shown) {
            said.push(shown);
        }
    }
    said
}

/// A reply's text, which may quote addresses (`<bob@acme.test>: Recipient address rejected`): the
/// local part of each becomes `*` unless the setting allows whole addresses. Nor is a domain's
/// explanation told, whose macros may hold a local part alone (RFC 7208 §7.2).
#[must_use]
pub fn text(text: &str, setting: Recipients) -> Cow<'_, str> {
    if setting == Recipients::Full {
        return Cow::Borrowed(text);
    }
    let explained = text.find(EXPLAINS).map(|at| at + EXPLAINS.len() - 1);
    let text = explained.and_then(|at| text.get(..at)).unwrap_or(text);
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut said = String::with_capacity(text.len());
    let mut pieces = text.split('@').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            said.push_str(piece);
            break;
        }
        let before = piece.get(..local_part(piece)).unwrap_or_default();
        said.push_str(before);
        said.push_str(if before.len() < piece.len() {
            "*@"
        } else {
            "@"
        });
    }
    Cow::Owned(said)
}

/// Where the local part at the end of `text` begins (RFC 5321 §4.1.2, RFC 6531 §3.3); more than it
/// is taken rather than less.
fn local_part(text: &str) -> usize {
    match text.strip_suffix('"') {
        // Quoted: up to the text's first quotation mark, for those within may be escaped.
        Some(quoted) => quoted.find('"').unwrap_or(0),
        None => text
            .rfind(|c: char| c.is_whitespace() || "<>()[],;:\"".contains(c))
            .map_or(0, |at| text.ceil_char_boundary(at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domains_explanation_is_not_told() {
        let given = "SPF fails: bank.test (default policy). The domain bank.test explains: no bob";
        let told = "SPF fails: bank.test (default policy). The domain bank.test explains:";
        assert_eq!(text(given, Recipients::Domain), told);
        assert_eq!(text(given, Recipients::Full), given);
    }

    #[test]
    fn texts_keep_their_words_and_lose_local_parts() {
        let cases = [
            (
                "<bob@acme.test>: Recipient address rejected",
                "<*@acme.test>: Recipient address rejected",
            ),
            (
                "bob.o'neil+x@acme.test unknown, try eve@acme.test",
                "*@acme.test unknown, try *@acme.test",
            ),
            (
                "user \"bob \\\" smith\"@acme.test is gone",
                "user *@acme.test is gone",
            ),
            ("to:böb@acme.test", "to:*@acme.test"),
            ("\u{a0}bob@acme.test", "\u{a0}*@acme.test"),
            ("write @ home", "write @ home"),
            ("no address", "no address"),
        ];
        for (given, masked) in cases {
            assert_eq!(text(given, Recipients::Domain), masked);
            assert_eq!(text(given, Recipients::None), masked);
            assert_eq!(text(given, Recipients::Full), given);
        }
    }
}
