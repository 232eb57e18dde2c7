//! Authentication-Results (RFC 8601): what was found, in the header field that others read.
//!
//! Typed results go in ([`Method`], made by `Method::from(&outcome)`); [`Header`] writes one field
//! that fits RFC 8601's grammar whatever the input was. The other way, [`parse`] reads a field,
//! [`claimed_results`] what can be read of a field outside of the grammar, and [`strip_own`] finds
//! those that claim to be ours and are not.

mod parse;
#[cfg(test)]
mod tests;
mod write;

pub use parse::{Parsed, ParsedMethod, claimed_results, parse, strip_own};
pub use write::Header;

use std::borrow::Cow;

/// One property (RFC 8601 §2.2, `propspec`), such as `smtp.mailfrom=a@b.test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Before the dot: `smtp`, `header`, `policy`, `body`.
    pub ptype: Cow<'static, str>,
    /// Behind the dot.
    pub name: Cow<'static, str>,
    /// The value, unquoted.
    pub value: String,
}

impl Property {
    /// `ptype.name=value`.
    #[must_use]
    pub fn new(ptype: &'static str, name: &'static str, value: impl Into<String>) -> Self {
        Self {
            ptype: Cow::Borrowed(ptype),
            name: Cow::Borrowed(name),
            value: value.into(),
        }
    }
}

/// One result (RFC 8601 §2.2, `resinfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// The method: `spf`, `dkim`, `dmarc`, `arc`, `iprev`, `auth`.
    pub method: &'static str,
    /// Its result, a registered keyword.
    pub result: &'static str,
    /// A comment behind the result; none, or plain text of any kind.
    pub comment: Option<String>,
    /// `reason=`, plain text of any kind.
    pub reason: Option<String>,
    /// The properties, in order.
    pub properties: Vec<Property>,
}

impl Method {
    /// A result without anything more.
    #[must_use]
    pub fn new(method: &'static str, result: &'static str) -> Self {
        Self {
            method,
            result,
            comment: None,
            reason: None,
            properties: Vec::new(),
        }
    }

    /// Adds a comment.
    #[must_use]
    pub fn with_comment(mut self, comment: Option<String>) -> Self {
        self.comment = comment;
        self
    }

    /// Adds `reason=`.
    #[must_use]
    pub fn with_reason(mut self, reason: Option<String>) -> Self {
        self.reason = reason;
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn with(
        mut self,
        ptype: &'static str,
        name: &'static str,
        value: impl Into<String>,
    ) -> Self {
        self.properties.push(Property::new(ptype, name, value));
        self
    }
}
