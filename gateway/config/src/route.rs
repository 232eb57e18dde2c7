//! Routes: which recipient goes to which backends, and under which policy.

use crate::policy::RecipientPolicy;
use serde::{Deserialize, Serialize};

/// A recipient pattern that one route holds on one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Claim {
    /// What it matches.
    pub pattern: RecipientPattern,
    /// Index into [`crate::Config::routes`].
    pub route: usize,
}

/// Domains are lower-case A-labels, local parts ASCII lower case (docs/flow.md, 4. rcpt).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecipientPattern {
    /// One mailbox, `local-part@domain`.
    Address(String),
    /// Every mailbox of exactly this domain.
    Domain(String),
    /// `*.domain`: every name below it, at any depth, not itself. Holds `domain`.
    Wildcard(String),
    /// `*`: every domain.
    Any,
}

/// A MailRoute as compiled for one gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The listener (`spec.listeners[].name`) for which it is compiled: policies differ by it.
    pub listener: String,
    /// First match wins; none is 550 5.1.1.
    pub rules: Vec<Rule>,
}

/// One rule of a [`Route`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// `spec.rules[].name`.
    pub name: String,
    /// Any of these; empty matches all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<LocalPartMatch>,
    /// Whether the backend is asked at RCPT.
    pub verify_recipients: VerifyRecipients,
    /// The backends with their weights, the sum above 0.
    pub backends: Vec<WeightedBackend>,
    /// The merged policies of rcpt and data.
    pub enforced: RecipientPolicy,
    /// The same with Monitor policies; absent when there is no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<RecipientPolicy>,
}

/// A match on the local part, ASCII case-insensitive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalPartMatch {
    /// The whole local part.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// The whole of it matches this regular expression (crate regex's syntax).
    RegularExpression(String),
}

/// `spec.rules[].verifyRecipients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyRecipients {
    /// The backend is asked at RCPT.
    Ask,
    /// Every recipient that matches is taken.
    None,
}

/// A backend and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WeightedBackend {
    /// Key of [`crate::Config::backends`].
    pub backend: String,
    /// 0 is never chosen while another is above 0.
    pub weight: u32,
}
