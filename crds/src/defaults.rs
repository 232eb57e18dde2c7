//! The values that unset fields mean: one constant for each, named by the descriptions of the API.
//!
//! Durations are [`Duration`]s, sizes are bytes. Whoever compiles a spec takes them from here, so
//! that documentation and behaviour cannot drift apart.

use std::time::Duration;

use crate::mail_policy::{Action, BareNewlines, LengthTag, OnReject};

/// `MailGateway.spec.className`.
pub const CLASS_NAME: &str = "postern";
/// `MailGateway.spec.infrastructure.replicas`.
pub const REPLICAS: i32 = 2;
/// `MailGateway.spec.infrastructure.drain.minDuration`.
pub const DRAIN_MIN_DURATION: Duration = Duration::from_secs(30);
/// `MailGateway.spec.infrastructure.drain.timeout`.
pub const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);
/// `MailGateway.spec.resolver.timeout`: of one query to one name server.
pub const RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);
/// `MailGateway.spec.resolver.attempts`.
pub const RESOLVER_ATTEMPTS: u32 = 2;
/// `MailGateway.spec.resolver.cache.entries`.
pub const RESOLVER_CACHE_ENTRIES: u32 = 100_000;
/// `MailGateway.spec.resolver.cache.maxTtl`.
pub const RESOLVER_CACHE_MAX_TTL: Duration = Duration::from_hours(1);
/// The port of a name server that is given without one.
pub const DNS_PORT: u16 = 53;
/// `MailGateway.spec.telemetry.traces.sampleRatio`.
pub const TRACES_SAMPLE_RATIO: f64 = 0.1;
/// `MailGateway.spec.telemetry.metrics.interval`.
pub const METRICS_INTERVAL: Duration = Duration::from_mins(1);

/// `MailRoute.spec.rules[].backends[].weight`.
pub const BACKEND_WEIGHT: u32 = 1;

/// `limits.messageSize`, in bytes: 25Mi.
pub const MESSAGE_SIZE: u64 = 25 << 20;
/// `limits.recipients`: of one message.
pub const RECIPIENTS: u32 = 100;
/// `limits.connections`: open at once in one pod.
pub const CONNECTIONS: u32 = 1000;
/// `limits.connectionsPerNetwork`: open at once in one pod, of one IPv4 /32 or IPv6 /64.
pub const CONNECTIONS_PER_NETWORK: u32 = 20;
/// `limits.commands`: in one session.
pub const COMMANDS: u32 = 1000;
/// `limits.errors`: in one session.
pub const ERRORS: u32 = 10;
/// `limits.receivedHeaders`.
pub const RECEIVED_HEADERS: u32 = 100;
/// `limits.minDataRate`, in bytes a second: 1Ki.
pub const MIN_DATA_RATE: u64 = 1 << 10;
/// `limits.bareNewlines` for DATA on SMTP listeners; elsewhere it is
/// [`BareNewlines::Normalize`].
pub const BARE_NEWLINES_DATA: BareNewlines = BareNewlines::Reject;

/// `timeouts.command`.
pub const TIMEOUT_COMMAND: Duration = Duration::from_mins(5);
/// `timeouts.data`.
pub const TIMEOUT_DATA: Duration = Duration::from_mins(10);
/// `timeouts.session`.
pub const TIMEOUT_SESSION: Duration = Duration::from_mins(30);

/// `verify.spf.onFail`.
pub const SPF_ON_FAIL: Action = Action::Tag;
/// `verify.spf.onSoftFail`.
pub const SPF_ON_SOFT_FAIL: Action = Action::Accept;
/// `verify.spf.onPermError`.
pub const SPF_ON_PERM_ERROR: Action = Action::Tag;
/// `verify.spf.onTempError`.
pub const SPF_ON_TEMP_ERROR: Action = Action::Tag;
/// `verify.dkim.onFail`.
pub const DKIM_ON_FAIL: Action = Action::Accept;
/// `verify.dkim.maxSignatures`.
pub const DKIM_MAX_SIGNATURES: u32 = 8;
/// `verify.dkim.lengthTag`.
pub const DKIM_LENGTH_TAG: LengthTag = LengthTag::Ignore;
/// `verify.dmarc.onReject`.
pub const DMARC_ON_REJECT: OnReject = OnReject::Reject;
/// `verify.dmarc.onQuarantine`.
pub const DMARC_ON_QUARANTINE: Action = Action::Tag;
/// `verify.iprev.onFail`.
pub const IPREV_ON_FAIL: Action = Action::Accept;
/// `verify.from.onAmbiguous`.
pub const FROM_ON_AMBIGUOUS: Action = Action::Reject;
