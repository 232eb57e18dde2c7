//! SPF (RFC 7208): may this client send for this domain?
//!
//! Client address, HELO and reverse-path go in ([`Request`]); [`check_host`] answers with an
//! [`Outcome`], [`check_identities`] with one for HELO and one for MAIL FROM. The whole record is
//! parsed before any of it is evaluated (§4.6), the ten lookups are shared by `include` and
//! `redirect` (§4.6.4), and at most two of them may be void.

mod evaluate;
mod explain;
mod identities;
mod macros;
mod parse;
mod record;
#[cfg(test)]
mod tests;

pub use evaluate::check_host;
pub use identities::{Identities, check_identities};
pub use record::Record;

use crate::name::Name;
use std::fmt;
use std::net::IpAddr;

/// The seven results (RFC 7208 §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// No domain to check, or the domain has no record.
    None,
    /// The domain says nothing about this client.
    Neutral,
    /// The client is authorized.
    Pass,
    /// The client is not authorized.
    Fail,
    /// The client is probably not authorized.
    SoftFail,
    /// A question to DNS has no answer now.
    TempError,
    /// The domain's records cannot be interpreted.
    PermError,
}

impl SpfResult {
    /// The word for Authentication-Results (RFC 8601 §2.7.2), lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which name the client claimed (RFC 7208 §2.3, §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The name in HELO or EHLO.
    Helo,
    /// The reverse-path; for a null one `postmaster@` and the HELO name.
    MailFrom,
}

impl Identity {
    /// `helo` or `mailfrom`, as in Received-SPF and the properties of Authentication-Results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Helo => "helo",
            Self::MailFrom => "mailfrom",
        }
    }
}

/// The arguments of [`check_host`] (RFC 7208 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client; an IPv4-mapped address means the IPv4 address (§5).
    pub client: IpAddr,
    /// Whose policy is asked for.
    pub identity: Identity,
    /// `<domain>`: the domain of the identity, as it came. An address literal is written with its
    /// brackets and has the result `none`.
    pub domain: String,
    /// The local part of `<sender>`, unquoted; empty means `postmaster` (§4.3).
    pub local_part: String,
    /// The HELO or EHLO name, for the macro `%{h}`.
    pub helo: String,
    /// Our own host name, for the macro `%{r}`.
    pub receiver: String,
    /// Seconds since 1970, for the macro `%{t}`.
    pub now: u64,
}

impl Request {
    /// Checks the HELO identity (§2.3).
    #[must_use]
    pub fn helo(client: IpAddr, helo: &str, receiver: &str, now: u64) -> Self {
        Self {
            client,
            identity: Identity::Helo,
            domain: helo.to_owned(),
            local_part: String::new(),
            helo: helo.to_owned(),
            receiver: receiver.to_owned(),
            now,
        }
    }

    /// Checks the MAIL FROM identity (§2.4): `reverse_path` is local part and domain; `None`, the
    /// null reverse-path, means `postmaster@` and the HELO name.
    #[must_use]
    pub fn mail_from(
        client: IpAddr,
        helo: &str,
        reverse_path: Option<(&str, &str)>,
        receiver: &str,
        now: u64,
    ) -> Self {
        let (local_part, domain) = reverse_path.unwrap_or(("postmaster", helo));
        Self {
            client,
            identity: Identity::MailFrom,
            domain: domain.to_owned(),
            local_part: local_part.to_owned(),
            helo: helo.to_owned(),
            receiver: receiver.to_owned(),
            now,
        }
    }
}

/// What [`check_host`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The result.
    pub result: SpfResult,
    /// Which identity was checked.
    pub identity: Identity,
    /// The identity as text: a domain for HELO, `local-part@domain` for MAIL FROM.
    pub sender: String,
    /// The domain that was checked; none if the identity holds no domain name.
    pub domain: Option<Name>,
    /// The term that matched, as it stands in the record; none for a default or an error.
    pub mechanism: Option<String>,
    /// The domain's explanation of a fail (§6.2), or none. Printable ASCII, at most 400 octets.
    pub explanation: Option<String>,
    /// For `temperror`, `permerror` and some `none`: what was wrong, for a comment and the trace.
    pub problem: Option<String>,
    /// Terms that cost DNS lookups, at most ten (§4.6.4).
    pub lookups: u32,
    /// Of these, void ones.
    pub void_lookups: u32,
}
