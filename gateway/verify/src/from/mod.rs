//! The author's domain: which domain does the From header field speak for?
//!
//! A scanned message goes in, an [`Author`] comes out by one rule:
//!
//! 1. There is exactly one From field (RFC 5322 §3.6), and it is UTF-8 without NUL.
//! 2. It is read as a list of mailboxes and groups (RFC 5322 §3.4, §3.6.2, with the obsolete
//!    forms of §4.4; RFC 6532 for UTF-8; a group in From, RFC 6854). Comments, display names, even
//!    quoted ones that look like an address, and encoded words name no domain. Two things are read
//!    that the grammar has not but mail has: a phrase without an address (`Shop, Inc. <a@b.test>`)
//!    names no domain, and an address in place of a display name (`a@b.test <a@b.test>`) counts as
//!    a mailbox, since somebody may show it.
//! 3. Every mailbox has a domain, which is a DNS name; U-labels become A-labels (RFC 8616 §3).
//! 4. All domains are one and the same: that is the author's domain. Several domains are
//!    [`Author::Several`]; anything that stops a step above is [`Author::Unreadable`], and no field
//!    or no mailbox [`Author::Missing`].
//!
//! RFC 9989 §4.4 leaves all but the last case to the receiver; policy (`verify.from.onAmbiguous`)
//! decides about them.

mod mailboxes;
#[cfg(test)]
mod tests;

use crate::message::Message;
use crate::name::Name;
use mailboxes::Mailbox;

/// Different domains that are told apart in [`Author::Several`].
const MAX_DOMAINS: usize = 16;

/// Whom the message says it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// One domain, of one mailbox or several.
    One {
        /// The domain.
        domain: Name,
        /// The first mailbox, `local-part@domain` as it stands, for the trace.
        mailbox: String,
    },
    /// Mailboxes of several domains, in order and without repetition, at most 16.
    Several(Vec<Name>),
    /// No From field, or one without a mailbox.
    Missing,
    /// The field cannot be read.
    Unreadable(Unreadable),
}

/// Why a From field cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// More than one From field.
    #[error("several From fields")]
    SeveralFields,
    /// It has octets that are not UTF-8.
    #[error("From is not UTF-8")]
    NotUtf8,
    /// It has NUL or another control character that is no white space.
    #[error("From has a control character")]
    ControlCharacter,
    /// It is no list of mailboxes.
    #[error("From has a syntax error")]
    Syntax,
    /// A mailbox's domain is an address literal or no DNS name.
    #[error("From has an address whose domain is no domain name")]
    NoDomainName,
    /// More than 1,000 mailboxes.
    #[error("From has more than 1,000 addresses")]
    TooMany,
}

impl Author {
    /// The one domain, if it is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Name> {
        match self {
            Self::One { domain, .. } => Some(domain),
            Self::Several(_) | Self::Missing | Self::Unreadable(_) => None,
        }
    }

    /// Why there is no single domain, as a sentence's end; none if there is one.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::One { .. } => None,
            Self::Several(domains) => Some(format!("From names {} domains", domains.len())),
            Self::Missing => Some("no author in From".to_owned()),
            Self::Unreadable(why) => Some(why.to_string()),
        }
    }
}

/// Finds the author's domain; see the module for the rule.
#[must_use]
pub fn author(message: &Message<'_>) -> Author {
    let mut fields = message.fields_named("From");
    let author = match (fields.next(), fields.next()) {
        (None, _) => Ok(Author::Missing),
        (Some(_), Some(_)) => Err(Unreadable::SeveralFields),
        (Some(field), None) => std::str::from_utf8(field.value)
            .map_err(|_| Unreadable::NotUtf8)
            .and_then(mailboxes::read)
            .and_then(|mailboxes| speak_for(&mailboxes)),
    };
    author.unwrap_or_else(Author::Unreadable)
}

/// Steps 3 and 4 of the rule.
fn speak_for(mailboxes: &[Mailbox<'_>]) -> Result<Author, Unreadable> {
    let mut domains: Vec<Name> = Vec::new();
    for mailbox in mailboxes {
        let domain = Name::from_unicode(&mailbox.domain)
            .ok()
            .filter(is_host_name);
        let domain = domain.ok_or(Unreadable::NoDomainName)?;
        if domains.len() < MAX_DOMAINS && !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    Ok(match (mailboxes.first(), domains.as_slice()) {
        (Some(first), [domain]) => Author::One {
            domain: domain.clone(),
            mailbox: first.to_string(),
        },
        (None, _) | (_, []) => Author::Missing,
        (Some(_), _) => Author::Several(domains),
    })
}

/// Letters, digits, hyphens and, as DNS has it, underscores.
fn is_host_name(name: &Name) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    name.as_str().bytes().all(is_plain)
}
