//! Rules of a route: the first whose match fits the local part.

use postern_config::route::{LocalPartMatch, Route};
use regex::{Regex, RegexBuilder};

/// Octets that one compiled regular expression may take.
const REGEX_SIZE: usize = 1 << 20;

/// A match that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {route}, rule {rule}: {reason}")]
pub struct RuleError {
    /// `namespace/name` of the MailRoute.
    pub route: String,
    /// The rule's name.
    pub rule: String,
    /// What is wrong with the regular expression.
    pub reason: String,
}

/// The matches of a route's rules, compiled.
#[derive(Debug)]
pub struct Rules(Vec<Vec<Match>>);

#[derive(Debug)]
enum Match {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Pattern(Regex),
}

impl Rules {
    /// Compiles the matches of all rules.
    ///
    /// # Errors
    /// A regular expression that the crate regex does not take, or that is too large.
    pub fn new(route: &Route) -> Result<Self, RuleError> {
        let rules = route.rules.iter().map(|rule| {
            let matches = rule
                .matches
                .iter()
                .map(Match::new)
                .collect::<Result<_, _>>();
            matches.map_err(|reason| RuleError {
                route: format!("{}/{}", route.namespace, route.name),
                rule: rule.name.clone(),
                reason,
            })
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// The index of the first rule that takes the local part. A rule without matches takes all.
    #[must_use]
    pub fn first(&self, local_part: &str) -> Option<usize> {
        let local = local_part.to_ascii_lowercase();
        let takes = |rule: &Vec<Match>| rule.is_empty() || rule.iter().any(|m| m.fits(&local));
        self.0.iter().position(takes)
    }
}

impl Match {
    fn new(compiled: &LocalPartMatch) -> Result<Self, String> {
        Ok(match compiled {
            LocalPartMatch::Exact(text) => Self::Exact(text.to_ascii_lowercase()),
            LocalPartMatch::Prefix(text) => Self::Prefix(text.to_ascii_lowercase()),
            LocalPartMatch::Suffix(text) => Self::Suffix(text.to_ascii_lowercase()),
            LocalPartMatch::RegularExpression(pattern) => Self::Pattern(regex(pattern)?),
        })
    }

    /// `local` is in ASCII lower case.
    fn fits(&self, local: &str) -> bool {
        match self {
            Self::Exact(text) => local == text,
            Self::Prefix(text) => local.starts_with(text.as_str()),
            Self::Suffix(text) => local.ends_with(text.as_str()),
            Self::Pattern(regex) => regex.is_match(local),
        }
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        RegexBuilder::new(text)
            .case_insensitive(true)
            .size_limit(REGEX_SIZE)
            .build()
            .map_err(|error| error.to_string())
    };
    // Alone first: a stray `)` must not take the fence below apart.
    build(pattern)?;
    // The whole local part must match. In `x` mode the pattern may end in a comment, which would
    // swallow the fence; there, and only there, a line break is nothing but the comment's end.
    build(&format!(r"\A(?:{pattern})\z")).or_else(|_| build(&format!("\\A(?:{pattern}\n)\\z")))
}
