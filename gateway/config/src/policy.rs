//! Compiled policies, grouped by the stage of the transaction in which they act, so that a check
//! of the body at RCPT cannot be written down.
//!
//! Every part names the MailPolicy that it came from ([`Sourced`]), for replies, traces and tags.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A section together with the MailPolicy (`namespace/name`) that it came from; `None` is the
/// documented default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sourced<T> {
    /// The policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The section's part for this stage.
    pub value: T,
}

/// What holds before a recipient is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ListenerPolicy {
    /// Stage connection.
    pub connection: ConnectionPolicy,
    /// Stage helo.
    pub helo: HeloPolicy,
    /// Stage mail.
    pub mail: MailPolicy,
}

/// What holds once a rule was chosen by the recipient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecipientPolicy {
    /// Stage rcpt.
    pub rcpt: RcptPolicy,
    /// Stage data.
    pub data: DataPolicy,
}

/// Stage connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectionPolicy {
    /// `access.clients`.
    pub clients: Sourced<ClientAccess>,
    /// `limits`, its part for connections.
    pub limits: Sourced<ConnectionLimits>,
    /// `timeouts.command` and `timeouts.session`.
    pub timeouts: Sourced<SessionTimeouts>,
}

/// `access.clients`: deny wins; a non-empty allow refuses all others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientAccess {
    /// Allowed networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNet>,
    /// Denied networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNet>,
}

/// Limits of connection and session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectionLimits {
    /// Open connections to the listener in one pod.
    pub connections: u32,
    /// Open connections of one client network (IPv4 /32, IPv6 /64) in one pod.
    pub connections_per_network: u32,
    /// Commands in a session.
    pub commands: u32,
    /// Refused commands in a session.
    pub errors: u32,
}

/// Timeouts of a session, milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SessionTimeouts {
    /// Waiting for a command (RFC 5321 §4.5.3.2.7).
    pub command_ms: u64,
    /// The whole session.
    pub session_ms: u64,
}

/// Stage helo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeloPolicy {
    /// `access.helo`.
    pub access: Sourced<HeloAccess>,
}

/// `access.helo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeloAccess {
    /// A name with a dot, or an address literal, is wanted.
    pub require_fqdn: bool,
    /// Denied names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<DomainPattern>,
}

/// A domain, or all below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DomainPattern {
    /// Exactly this name, lower-case A-labels.
    Domain(String),
    /// `*.domain`: all below, not itself.
    Wildcard(String),
}

/// A mailbox, all of a domain, or all below a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddressPattern {
    /// One mailbox; its local part in ASCII lower case.
    Address(String),
    /// Every mailbox of exactly this domain (`shop.test` and `*@shop.test` mean the same).
    Domain(String),
    /// `*@*.shop.test` or `*.shop.test`: every mailbox of every domain below.
    Wildcard(String),
    /// `*`: every mailbox of every domain.
    Any,
}

/// Stage mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MailPolicy {
    /// `access.senders`.
    pub senders: Sourced<SenderAccess>,
    /// `limits`, its part for MAIL.
    pub limits: Sourced<MailLimits>,
}

/// `access.senders`: deny wins; a non-empty allow refuses all others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SenderAccess {
    /// Allowed reverse-paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AddressPattern>,
    /// Denied reverse-paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<AddressPattern>,
}

/// Limits that are known at MAIL. Size and recipients are session-wide here: the listener's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MailLimits {
    /// Largest message, octets; what SIZE advertises.
    pub message_size: u64,
    /// `bareNewlines`, when set: holds for DATA and BDAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bare_newlines: Option<BareNewlines>,
}

/// `limits.bareNewlines`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BareNewlines {
    /// 550 5.6.0.
    Reject,
    /// A bare LF becomes CRLF, a bare CR a space.
    Normalize,
}

/// Stage rcpt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RcptPolicy {
    /// `access.recipients`.
    pub recipients: Sourced<RecipientAccess>,
    /// `limits`, its part for RCPT.
    pub limits: Sourced<RcptLimits>,
}

/// `access.recipients`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecipientAccess {
    /// Denied forward-paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<AddressPattern>,
}

/// Limits at RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RcptLimits {
    /// Accepted recipients of a message.
    pub recipients: u32,
}

/// Stage data. Its hash is part of a transaction's key (docs/flow.md, 4. rcpt).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataPolicy {
    /// `limits`, its part for DATA.
    pub limits: Sourced<DataLimits>,
    /// `timeouts.data`.
    pub timeouts: Sourced<DataTimeouts>,
    /// `verify`.
    pub verify: Sourced<Verify>,
    /// `mark`.
    pub mark: Sourced<Mark>,
}

/// Limits of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataLimits {
    /// Largest message for these recipients, octets.
    pub message_size: u64,
    /// Received headers before 554 5.4.6.
    pub received_headers: u32,
    /// Slowest client, octets a second, averaged over 30 s of receiving.
    pub min_data_rate: u64,
}

/// The data phase's timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataTimeouts {
    /// From DATA or the first BDAT to the end of the message, milliseconds.
    pub data_ms: u64,
}

/// What a finding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Nothing; Authentication-Results says it.
    Accept,
    /// The mail goes on with `X-Postern-Verdict`.
    Tag,
    /// 4yz.
    Defer,
    /// 5yz.
    Reject,
}

/// `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Verify {
    /// RFC 7208.
    pub spf: SpfActions,
    /// RFC 6376.
    pub dkim: DkimActions,
    /// RFC 9989.
    pub dmarc: DmarcActions,
    /// Domains whose ARC seal may rescue a DMARC failure (RFC 8617).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_sealers: Vec<String>,
    /// The client has no name that points back to it (RFC 8601 §2.7.3).
    pub iprev_on_fail: Action,
    /// From has no or several domains.
    pub from_on_ambiguous: Action,
    /// Forwarders whose mail is not held to SPF and DMARC.
    pub trusted_forwarders: TrustedForwarders,
}

/// `verify.spf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SpfActions {
    /// `fail`.
    pub on_fail: Action,
    /// `softfail`.
    pub on_soft_fail: Action,
    /// `permerror`.
    pub on_perm_error: Action,
    /// `temperror`.
    pub on_temp_error: Action,
}

/// `verify.dkim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DkimActions {
    /// There are signatures and none passes.
    pub on_fail: Action,
    /// Signatures that are tried.
    pub max_signatures: u32,
    /// Whether `l=` shorter than the body counts for DMARC.
    pub length_tag: LengthTag,
}

/// `verify.dkim.lengthTag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LengthTag {
    /// It does not count.
    Ignore,
    /// It does.
    Count,
}

/// `verify.dmarc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DmarcActions {
    /// The domain's policy is reject.
    pub on_reject: OnDmarcReject,
    /// The domain's policy is quarantine.
    pub on_quarantine: Action,
}

/// `verify.dmarc.onReject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDmarcReject {
    /// 550 5.7.26.
    Reject,
    /// Reject, but quarantine when any DKIM signature passes (RFC 9989 §7.4).
    RejectWithoutEvidence,
    /// What `onQuarantine` says.
    Quarantine,
}

/// `verify.trustedForwarders`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TrustedForwarders {
    /// Client networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// Domains that pass SPF or DKIM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<DomainPattern>,
}

/// `mark`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mark {
    /// Headers to prepend, name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}
