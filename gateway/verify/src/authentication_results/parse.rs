//! Reading the field: by the grammar ([`parse`]), and by anything that somebody might take for
//! it ([`strip_own`]).

use super::Property;
use crate::message::Message;
use crate::name::Name;
use std::borrow::Cow;
use std::ops::Range;

/// Deeper comments are not read.
const MAX_COMMENT_DEPTH: usize = 50;
/// More results of one field are not read.
const MAX_METHODS: usize = 1_000;

/// A field that was read (RFC 8601 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Who says so, unquoted.
    pub authserv_id: String,
    /// What it says; empty: `none`.
    pub methods: Vec<ParsedMethod>,
}

/// One result of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedMethod {
    /// The method, lower case.
    pub method: String,
    /// The result, lower case.
    pub result: String,
    /// `reason=`, unquoted.
    pub reason: Option<String>,
    /// The properties, values unquoted.
    pub properties: Vec<Property>,
}

/// Reads the value of a field; none if it does not fit the grammar. Comments are dropped.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Parsed> {
    let mut scan = Scan(value);
    scan.cfws()?;
    let authserv_id = scan.value()?;
    scan.cfws()?;
    // authres-version
    if scan.0.first().is_some_and(u8::is_ascii_digit) {
        scan.run(|octet| octet.is_ascii_digit());
        scan.cfws()?;
    }
    let mut methods = Vec::new();
    let mut none = false;
    while scan.take(b';') {
        scan.cfws()?;
        if none || methods.len() == MAX_METHODS {
            return None;
        }
        match scan.method()? {
            Some(method) => methods.push(method),
            None => none = true,
        }
    }
    let whole = scan.0.is_empty() && (none == methods.is_empty());
    whole.then_some(Parsed {
        authserv_id,
        methods,
    })
}

/// The first two words of each result, `method=result`, as they stand: for fields of others, whose
/// further words may be outside of the grammar (`action=none` of a large provider). Comments are
/// dropped, and no semicolon within a comment or a quoted string ends a result: such text is
/// anybody's, an address of the envelope for instance.
pub fn claimed_results(value: &[u8]) -> impl Iterator<Item = (String, String)> {
    let mut scan = Scan(value);
    // The identifier.
    let mut more = scan.skip_result();
    std::iter::from_fn(move || {
        while more {
            let found = scan.method_and_result();
            more = scan.skip_result();
            if found.is_some() {
                return found;
            }
        }
        None
    })
}

/// Where in the message the Authentication-Results fields stand that claim our own identifier and
/// must go before ours is added (RFC 8601 §5): in any case, quoted, with comments or folding in
/// between, and forms outside of the grammar that a lenient reader might take for it.
#[must_use]
pub fn strip_own(message: &Message<'_>, authserv_id: &str) -> Vec<Range<usize>> {
    message
        .fields_named("Authentication-Results")
        .filter(|field| {
            claims(field.value, authserv_id) || claims(&spaced(field.value), authserv_id)
        })
        .map(|field| field.range())
        .collect()
}

fn claims(value: &[u8], authserv_id: &str) -> bool {
    let mut scan = Scan(value);
    let first = scan.cfws().and_then(|()| scan.glued());
    let ours = |claimed: &str| same_id(claimed, authserv_id);
    if first.as_deref().is_some_and(ours) {
        return true;
    }
    // All before the first semicolon with white space, comments and quotes taken out.
    match Scan(value).squeezed() {
        Some(squeezed) => ours(&squeezed),
        // A comment or a quote that does not end: nobody knows what another reader makes of it.
        None => {
            let text = String::from_utf8_lossy(value).to_lowercase();
            let (unicode, _) = idna::domain_to_unicode(authserv_id);
            text.contains(&authserv_id.to_lowercase()) || text.contains(&unicode)
        }
    }
}

/// The text with a space for every control, every white space of Unicode and every octet that is
/// no UTF-8: readers that trim such octets away would find the identifier behind them.
fn spaced(value: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(value)
        .chars()
        .map(|c| match c {
            '\r' | '\n' => c,
            char::REPLACEMENT_CHARACTER => ' ',
            _ if c.is_control() || c.is_whitespace() => ' ',
            _ => c,
        })
        .collect::<String>()
        .into_bytes()
}

/// Identifiers are compared as domains where they are domains (§2.5): case and U-labels apart.
fn same_id(claimed: &str, ours: &str) -> bool {
    let claimed = claimed.strip_suffix('.').unwrap_or(claimed);
    let ours = ours.strip_suffix('.').unwrap_or(ours);
    claimed.eq_ignore_ascii_case(ours)
        || match (Name::from_unicode(claimed), Name::from_unicode(ours)) {
            (Ok(claimed), Ok(ours)) => claimed == ours,
            _ => false,
        }
}

/// What is left of a field.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn take(&mut self, octet: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == octet => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self
            .0
            .iter()
            .position(|octet| !belongs(*octet))
            .unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(end);
        self.0 = rest;
        run
    }

    /// Comments and folding white space; none: a comment does not end.
    fn cfws(&mut self) -> Option<()> {
        loop {
            self.run(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n'));
            if self.0.first() != Some(&b'(') {
                return Some(());
            }
            self.comment()?;
        }
    }

    fn comment(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            match first {
                b'\\' => self.0 = self.0.split_first()?.1,
                b'(' if depth == MAX_COMMENT_DEPTH => {
                    // Nobody may read on in the midst of it.
                    self.0 = &[];
                    return None;
                }
                b'(' => depth += 1,
                b')' if depth <= 1 => return Some(()),
                b')' => depth -= 1,
                _ => {}
            }
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            match first {
                b'"' => return Some(String::from_utf8_lossy(&text).into_owned()),
                b'\\' => {
                    let (escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    text.push(*escaped);
                }
                b'\r' | b'\n' => {}
                octet => text.push(*octet),
            }
        }
    }

    /// `value`: a token or a quoted string.
    fn value(&mut self) -> Option<String> {
        if self.take(b'"') {
            return self.quoted();
        }
        self.word(is_token)
    }

    fn word(&mut self, belongs: impl Fn(u8) -> bool) -> Option<String> {
        let run = self.run(belongs);
        (!run.is_empty()).then(|| String::from_utf8_lossy(run).into_owned())
    }

    /// `pvalue`: also an address, whose local part may be quoted.
    fn pvalue(&mut self) -> Option<String> {
        let mut text = String::new();
        let all = self.0.len();
        let mut left = usize::MAX;
        while self.0.len() < left {
            left = self.0.len();
            if self.take(b'"') {
                text.push_str(&self.quoted()?);
            }
            text.extend(self.word(is_value));
        }
        (left < all).then_some(text)
    }

    fn keyword(&mut self) -> Option<String> {
        let word = self.word(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))?;
        self.cfws()?;
        Some(word)
    }

    fn equals(&mut self) -> Option<()> {
        let found = self.take(b'=');
        self.cfws()?;
        found.then_some(())
    }

    /// `resinfo` behind its semicolon, or `none`.
    fn method(&mut self) -> Option<Option<ParsedMethod>> {
        let method = self.keyword()?.to_ascii_lowercase();
        if method == "none" && self.0.is_empty() {
            return Some(None);
        }
        if self.take(b'/') {
            self.cfws()?;
            self.run(|octet| octet.is_ascii_digit());
            self.cfws()?;
        }
        self.equals()?;
        let result = self.keyword()?.to_ascii_lowercase();
        let mut parsed = ParsedMethod {
            method,
            result,
            reason: None,
            properties: Vec::new(),
        };
        while !self.0.is_empty() && self.0.first() != Some(&b';') {
            let name = self.keyword()?;
            if name.eq_ignore_ascii_case("reason") && self.0.first() == Some(&b'=') {
                self.equals()?;
                parsed.reason = Some(self.value()?);
            } else {
                parsed.properties.push(self.property(name)?);
            }
            self.cfws()?;
        }
        Some(Some(parsed))
    }

    /// `method=result` at the beginning of a result.
    fn method_and_result(&mut self) -> Option<(String, String)> {
        self.cfws()?;
        let method = self.keyword()?;
        if self.take(b'/') {
            self.cfws()?;
            self.run(|octet| octet.is_ascii_digit());
            self.cfws()?;
        }
        self.equals()?;
        let result = self.keyword()?;
        Some((method.to_ascii_lowercase(), result.to_ascii_lowercase()))
    }

    /// Goes behind the next semicolon that is neither quoted nor in a comment; says whether there
    /// is one. What does not end has none.
    fn skip_result(&mut self) -> bool {
        loop {
            if self.cfws().is_none() {
                return false;
            }
            if self.take(b'"') {
                if self.quoted().is_none() {
                    return false;
                }
                continue;
            }
            match self.0.split_first() {
                None => return false,
                Some((octet, rest)) => {
                    self.0 = rest;
                    if *octet == b';' {
                        return true;
                    }
                }
            }
        }
    }

    /// `propspec` behind its ptype.
    fn property(&mut self, ptype: String) -> Option<Property> {
        if !self.take(b'.') {
            return None;
        }
        self.cfws()?;
        let name = self.keyword()?;
        self.equals()?;
        let value = self.pvalue()?;
        Some(Property {
            ptype: Cow::Owned(ptype),
            name: Cow::Owned(name),
            value,
        })
    }

    /// Tokens and quoted strings that stand together, taken as one.
    fn glued(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            if self.take(b'"') {
                text.push_str(&self.quoted()?);
            } else if let Some(word) = self.word(is_token) {
                text.push_str(&word);
            } else {
                return Some(text);
            }
        }
    }

    /// Everything before the first semicolon without white space, comments and quotes.
    fn squeezed(mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            self.cfws()?;
            if self.take(b'"') {
                text.extend_from_slice(self.quoted()?.as_bytes());
                continue;
            }
            match self.0.split_first() {
                None | Some((b';', _)) => return Some(String::from_utf8_lossy(&text).into_owned()),
                Some((octet, rest)) => {
                    text.push(*octet);
                    self.0 = rest;
                }
            }
        }
    }
}

/// RFC 2045 §5.1; octets above 127 by RFC 8616 §2.
fn is_token(octet: u8) -> bool {
    octet > 0x20 && octet != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

/// What stands unquoted in the values of properties: more than tokens in practice, as in
/// `header.b=ab/c=`.
fn is_value(octet: u8) -> bool {
    octet > 0x20 && octet != 0x7f && !b"();\"".contains(&octet)
}
