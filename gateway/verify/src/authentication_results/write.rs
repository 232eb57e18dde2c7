//! Writing the field: RFC 8601 §2.2's grammar whatever the values hold, folded, at most 8 kB.

use super::{Method, Property};
use crate::{arc, dkim, dmarc, iprev, spf};

/// The whole field has no more octets. What does not fit is counted in a comment.
const MAX_OCTETS: usize = 8_192;
/// For the comment that counts.
const RESERVE: usize = 64;
/// A value is cut there; a longer one is nobody's address (RFC 5321 §4.5.3.1).
const MAX_VALUE: usize = 320;
/// A comment or a reason is cut there.
const MAX_TEXT: usize = 200;
/// Lines are folded before this column where there is a place to fold (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// One Authentication-Results field in the making.
#[derive(Debug, Clone)]
pub struct Header {
    authserv_id: String,
    methods: Vec<Method>,
}

impl Header {
    /// Without results it says `none`.
    #[must_use]
    pub fn new(authserv_id: &str) -> Self {
        Self {
            authserv_id: value(authserv_id),
            methods: Vec::new(),
        }
    }

    /// Adds a result.
    pub fn push(&mut self, method: Method) {
        self.methods.push(method);
    }

    /// Adds results.
    pub fn extend(&mut self, methods: impl IntoIterator<Item = Method>) {
        self.methods.extend(methods);
    }

    /// The whole field, name and final CRLF included.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut line = Folded::new("Authentication-Results:");
        let mut written: Vec<(bool, Vec<String>)> = self
            .methods
            .iter()
            .map(|method| (method.method == "dkim", words_of(method)))
            .collect();
        let left_out = shorten(&mut written, MAX_OCTETS - RESERVE - self.authserv_id.len());
        if written.is_empty() {
            line.word(&format!("{};", self.authserv_id));
            line.word("none");
        } else {
            line.word(&self.authserv_id);
        }
        for (_, words) in &written {
            line.text.push(';');
            line.fold();
            words.iter().for_each(|word| line.word(word));
        }
        if left_out > 0 {
            line.word(&format!("({left_out} results left out)"));
        }
        line.text.push_str("\r\n");
        line.text.into_bytes()
    }
}

/// Drops results until the rest fits, DKIM's last ones first: an attacker adds those. Returns how
/// many were dropped.
fn shorten(written: &mut Vec<(bool, Vec<String>)>, limit: usize) -> usize {
    // Each word may begin a line of its own: CRLF, tab; and a semicolon each result.
    let size = |words: &[String]| words.iter().map(|word| word.len() + 3).sum::<usize>() + 4;
    let mut total: usize = written.iter().map(|(_, words)| size(words)).sum();
    let mut dropped = 0;
    while total > limit {
        let last = written.iter().rposition(|(is_dkim, _)| *is_dkim);
        let Some(last) = last.or(written.len().checked_sub(1)) else {
            break;
        };
        total -= size(&written.remove(last).1);
        dropped += 1;
    }
    dropped
}

/// The places between words are those where the line may be folded.
fn words_of(method: &Method) -> Vec<String> {
    let mut words = vec![format!("{}={}", method.method, method.result)];
    if let Some(comment) = &method.comment {
        words.extend(comment_of(comment).split(' ').map(str::to_owned));
    }
    if let Some(reason) = &method.reason {
        let reason: String = reason.chars().take(MAX_TEXT).collect();
        words.push(format!("reason={}", value(&reason)));
    }
    for Property {
        ptype,
        name,
        value: text,
    } in &method.properties
    {
        words.push(format!("{ptype}.{name}={}", pvalue(text)));
    }
    words
}

/// RFC 5322 §3.2.2: anything printable, parentheses and backslashes escaped.
fn comment_of(text: &str) -> String {
    let mut comment = String::from("(");
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '(' | ')' | '\\' => comment.extend(['\\', c]),
            ' '..='~' => comment.push(c),
            _ => comment.push('?'),
        }
    }
    // A space at the end would fold into an empty line.
    let trimmed = comment.trim_end_matches(' ').len();
    comment.truncate(trimmed);
    comment.push(')');
    comment
}

/// `value`, or `[ [ local-part ] "@" ] domain-name` as it stands.
fn pvalue(text: &str) -> String {
    let address = text.rsplit_once('@').is_some_and(|(local, domain)| {
        (local.is_empty() || is_dot_atom(local)) && is_domain(domain)
    });
    if address && text.len() <= MAX_VALUE {
        text.to_owned()
    } else {
        value(text)
    }
}

/// A `token` (RFC 2045 §5.1) or a quoted string.
fn value(text: &str) -> String {
    if !text.is_empty() && text.len() <= MAX_VALUE && text.bytes().all(is_token) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if quoted.len() + c.len_utf8() > MAX_VALUE {
            break;
        }
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('?'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

/// RFC 5322 §3.2.3, RFC 6532 §3.2.
fn is_dot_atom(text: &str) -> bool {
    let is_atext = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || (!c.is_ascii() && c.is_alphanumeric())
    };
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 6376 §3.5 `domain-name`: two or more sub-domains of letters, digits and inner hyphens.
fn is_domain(text: &str) -> bool {
    let is_sub_domain = |label: &str| {
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(is_plain)
    };
    text.contains('.') && text.split('.').all(is_sub_domain)
}

/// Text that is folded between words.
struct Folded {
    text: String,
    column: usize,
}

impl Folded {
    fn new(name: &str) -> Self {
        Self {
            text: name.to_owned(),
            column: name.len(),
        }
    }

    fn fold(&mut self) {
        self.text.push_str("\r\n");
        self.column = 0;
    }

    fn word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        if self.column > 0 && self.column + 1 + word.len() > COLUMNS {
            self.fold();
        }
        self.text.push(if self.column == 0 { '\t' } else { ' ' });
        self.text.push_str(word);
        self.column += 1 + word.len();
    }
}

impl From<&spf::Outcome> for Method {
    /// RFC 8601 §2.7.2.
    fn from(outcome: &spf::Outcome) -> Self {
        let property = outcome.identity.as_str();
        let comment = outcome
            .problem
            .clone()
            .or_else(|| outcome.mechanism.clone());
        Self::new("spf", outcome.result.as_str())
            .with_comment(comment)
            .with("smtp", property, outcome.sender.clone())
    }
}

impl From<&dkim::SignatureOutcome> for Method {
    /// RFC 8601 §2.7.1, RFC 6008.
    fn from(outcome: &dkim::SignatureOutcome) -> Self {
        let mut method = Self::new("dkim", outcome.result.as_str());
        match outcome.result {
            dkim::DkimResult::Pass => method.comment.clone_from(&outcome.reason),
            _ => method.reason.clone_from(&outcome.reason),
        }
        let domain = outcome.domain.as_ref().map(ToString::to_string);
        // An i= may hold octets that only SMTPUTF8 messages may have in their header.
        let identity = outcome.identity.as_ref().map(|identity| ascii(identity));
        let selector = outcome.selector.as_ref().map(|selector| ascii(selector));
        let algorithm = outcome
            .algorithm
            .map(|algorithm| algorithm.as_str().to_owned());
        for (name, value) in [
            ("d", domain),
            ("s", selector),
            ("i", identity),
            ("a", algorithm),
            ("b", outcome.b.clone()),
        ] {
            if let Some(value) = value {
                method = method.with("header", name, value);
            }
        }
        method
    }
}

fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

impl dkim::Outcome {
    /// One result for each signature that was tried, in header order; one `policy` that counts the
    /// rest; `none` if there is no signature.
    #[must_use]
    pub fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<Method> = self.signatures.iter().map(Method::from).collect();
        if self.untried > 0 {
            let comment = format!("{} more signatures were not tried", self.untried);
            methods.push(Method::new("dkim", "policy").with_comment(Some(comment)));
        }
        if methods.is_empty() {
            methods.push(Method::new("dkim", "none"));
        }
        methods
    }
}

impl From<&dmarc::Outcome> for Method {
    /// RFC 9989 §9 registers `header.from` and `policy.dmarc`.
    fn from(outcome: &dmarc::Outcome) -> Self {
        let method = Self::new("dmarc", outcome.result.as_str())
            .with_comment(outcome.problem.clone())
            .with("header", "from", outcome.from.to_string());
        match &outcome.published {
            Some(published) => {
                let policy = published.record.applied(outcome.policy);
                method.with("policy", "dmarc", policy.as_str())
            }
            None => method,
        }
    }
}

impl From<&arc::Outcome> for Method {
    /// RFC 8617 §5.1, §10.2: `header.oldest-pass`.
    fn from(outcome: &arc::Outcome) -> Self {
        let method =
            Self::new("arc", outcome.result.as_str()).with_comment(outcome.problem.clone());
        match outcome.oldest_pass {
            Some(oldest) => method.with("header", "oldest-pass", oldest.to_string()),
            None => method,
        }
    }
}

impl From<&iprev::Outcome> for Method {
    /// RFC 8601 §2.7.3.
    fn from(outcome: &iprev::Outcome) -> Self {
        let name = outcome.name.as_ref().map(ToString::to_string);
        Self::new("iprev", outcome.result.as_str())
            .with_comment(name.or_else(|| outcome.problem.clone()))
            .with("policy", "iprev", outcome.address.to_string())
    }
}
