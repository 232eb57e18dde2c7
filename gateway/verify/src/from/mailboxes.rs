//! The mailboxes of an address list (RFC 5322 §3.4, §4.4).
//!
//! A field's value goes in; it is cut into tokens, comments and white space falling away, and the
//! tokens are read as a list. Nothing recurses: groups do not nest, and comments are counted.

use super::Unreadable;
use std::borrow::Cow;
use std::fmt;

/// More mailboxes are refused.
const MAX_MAILBOXES: usize = 1_000;
/// Deeper comments are refused.
const MAX_COMMENT_DEPTH: usize = 50;

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox<'a> {
    /// As it stands, quotes included.
    local_part: String,
    /// The domain, or an address literal in brackets.
    pub(super) domain: Cow<'a, str>,
}

impl fmt::Display for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// §3.2.3, RFC 6532 §3.2.
    Atom(&'a str),
    /// §3.2.4, quotes included.
    Quoted(&'a str),
    /// §3.4.1 `domain-literal`, brackets included.
    Literal(&'a str),
    /// One of `.<>@,:;`.
    Special(char),
}

/// Reads a whole list.
pub(super) fn read(text: &str) -> Result<Vec<Mailbox<'_>>, Unreadable> {
    let tokens = tokens(text)?;
    Reader {
        tokens: &tokens,
        in_group: false,
        mailboxes: Vec::new(),
    }
    .read()
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unreadable> {
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n'))
    {
        return Err(Unreadable::ControlCharacter);
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            ' ' | '\t' | '\r' | '\n' => (None, 1),
            '(' => (None, comment(rest)?),
            '"' => {
                let length = quoted(rest, '"')?;
                (rest.get(..length).map(Token::Quoted), length)
            }
            '[' => {
                let length = quoted(rest, ']')?;
                (rest.get(..length).map(Token::Literal), length)
            }
            '.' | '<' | '>' | '@' | ',' | ':' | ';' => (Some(Token::Special(first)), 1),
            ')' | ']' | '\\' => return Err(Unreadable::Syntax),
            _ => {
                let length = rest.find(is_no_atom).unwrap_or(rest.len());
                (rest.get(..length).map(Token::Atom), length)
            }
        };
        tokens.extend(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(tokens)
}

fn is_no_atom(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | '(' | ')' | '<' | '>' | '[' | ']' | ':' | ';' | '@'
    ) || matches!(c, '\\' | ',' | '.' | '"')
}

/// The length of the comment that `text` begins with; comments nest (§3.2.2).
fn comment(text: &str) -> Result<usize, Unreadable> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' if depth == MAX_COMMENT_DEPTH => return Err(Unreadable::Syntax),
            '(' => depth += 1,
            ')' if depth == 1 => return Ok(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    Err(Unreadable::Syntax)
}

/// The length of what `text` begins with, up to the first `end` that is not escaped.
fn quoted(text: &str, end: char) -> Result<usize, Unreadable> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == end => return Ok(at + c.len_utf8()),
            _ => {}
        }
    }
    Err(Unreadable::Syntax)
}

struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
    in_group: bool,
    mailboxes: Vec<Mailbox<'a>>,
}

impl<'a> Reader<'_, 'a> {
    fn read(mut self) -> Result<Vec<Mailbox<'a>>, Unreadable> {
        loop {
            let words = self.words();
            match self.next() {
                None => break,
                Some(Token::Special('<')) => self.angle()?,
                Some(Token::Special('@')) => {
                    self.addr_spec(&words)?;
                    // An address where a display name belongs; see the rule.
                    if self.next_is('<') {
                        self.angle()?;
                    }
                }
                // §3.4: display-name ":" [group-list] ";"
                Some(Token::Special(':')) if !words.is_empty() && !self.in_group => {
                    self.in_group = true;
                    continue;
                }
                Some(Token::Special(';')) if self.in_group => {
                    self.in_group = false;
                    continue;
                }
                // §4.4: empty members; and a phrase without an address, see the rule.
                Some(Token::Special(',')) => continue,
                Some(_) => return Err(Unreadable::Syntax),
            }
            if !self.ends_member() {
                return Err(Unreadable::Syntax);
            }
        }
        Ok(self.mailboxes)
    }

    /// Atoms, quoted strings and dots: a phrase or a local part.
    fn words(&mut self) -> Vec<Token<'a>> {
        let is_word = |token: &&Token<'_>| {
            matches!(
                token,
                Token::Atom(_) | Token::Quoted(_) | Token::Special('.')
            )
        };
        let count = self.tokens.iter().take_while(is_word).count();
        let (words, rest) = self
            .tokens
            .split_at_checked(count)
            .unwrap_or((&[], self.tokens));
        self.tokens = rest;
        words.to_vec()
    }

    /// Behind "<": `[obs-route] addr-spec ">"`.
    fn angle(&mut self) -> Result<(), Unreadable> {
        // §4.4 obs-route: "@a,@b:" before the address.
        while self.next_is('@') || self.next_is(',') {
            if self
                .tokens
                .first()
                .is_some_and(|token| matches!(token, Token::Atom(_)))
            {
                self.domain()?;
            }
            if self.next_is(':') {
                break;
            }
        }
        let words = self.words();
        if !self.next_is('@') {
            return Err(Unreadable::Syntax);
        }
        self.addr_spec(&words)?;
        self.next_is('>').then_some(()).ok_or(Unreadable::Syntax)
    }

    /// Behind "@"; `words` is the local part.
    fn addr_spec(&mut self, words: &[Token<'a>]) -> Result<(), Unreadable> {
        let domain = self.domain()?;
        let local_part = local_part(words).ok_or(Unreadable::Syntax)?;
        if self.mailboxes.len() == MAX_MAILBOXES {
            return Err(Unreadable::TooMany);
        }
        self.mailboxes.push(Mailbox { local_part, domain });
        Ok(())
    }

    /// `atom *("." atom)` or a literal.
    fn domain(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        let mut domain = match self.next() {
            Some(Token::Literal(literal)) => return Ok(Cow::Borrowed(literal)),
            Some(Token::Atom(label)) => Cow::Borrowed(label),
            _ => return Err(Unreadable::Syntax),
        };
        while self.next_is('.') {
            let Some(Token::Atom(label)) = self.next() else {
                return Err(Unreadable::Syntax);
            };
            let domain = domain.to_mut();
            domain.push('.');
            domain.push_str(label);
        }
        Ok(domain)
    }

    fn ends_member(&self) -> bool {
        match self.tokens.first() {
            None | Some(Token::Special(',')) => true,
            Some(Token::Special(';')) => self.in_group,
            Some(_) => false,
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    /// Takes the next token if it is this one.
    fn next_is(&mut self, special: char) -> bool {
        let is = self.tokens.first() == Some(&Token::Special(special));
        if is {
            self.next();
        }
        is
    }
}

/// `word *("." word)` (§3.4.1, §4.4 obs-local-part).
fn local_part(words: &[Token<'_>]) -> Option<String> {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        match (at % 2, word) {
            (0, Token::Atom(word) | Token::Quoted(word)) => text.push_str(word),
            (1, Token::Special('.')) => text.push('.'),
            _ => return None,
        }
    }
    (words.len() % 2 == 1).then_some(text)
}
