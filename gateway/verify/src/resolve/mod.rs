//! DNS as the checks see it: five questions ([`Resolve`]) and three kinds of "no" ([`DnsError`]).
//!
//! A question goes in as an absolute [`Name`]; shared, parsed records come out. [`HickoryResolver`]
//! asks real name servers and caches; [`Scoped`] bounds what one message may ask and tells an
//! [`Observe`] about each question; `zone::Zone` (feature `testing`) answers from a text.

mod cache;
mod hickory;
mod scoped;
#[cfg(test)]
mod tests;

pub use hickory::{BuildError, Counters, HickoryResolver, ResolverOptions};
#[cfg(any(test, feature = "testing"))]
pub(crate) use hickory::{name_of, wire_name};
pub use scoped::{Budget, Lookup, Observe, Scoped};

use crate::name::Name;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The strings of each TXT record, concatenated as octets without anything between
/// (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
pub type Txt = Arc<[Box<[u8]>]>;

/// One MX record (RFC 5321 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// Lower is preferred.
    pub preference: u16,
    /// The host; none is the null MX "." (RFC 7505).
    pub exchange: Option<Name>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DnsError {
    /// The answer is known: no such records. `nxdomain`: not even the name exists (RFC 2308 §2.1).
    #[error("{}", if *.nxdomain { "no such name" } else { "no such records" })]
    NoRecords {
        /// RCODE 3 rather than an empty answer.
        nxdomain: bool,
    },
    /// The answer is not known now; asking later may help.
    #[error("{0}")]
    Temporary(Temporary),
    /// An answer came that cannot be decoded. It counts as temporary wherever the RFCs know only
    /// two kinds, since a mended server answers differently.
    #[error("malformed answer")]
    Malformed,
}

/// Kinds of [`DnsError::Temporary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Temporary {
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// RCODE 2, SERVFAIL.
    #[error("SERVFAIL")]
    ServFail,
    /// Any other RCODE, or no server reachable.
    #[error("no usable answer")]
    Other,
    /// The message has asked all that it may, or for as long as it may ([`Budget`]).
    #[error("the message's budget of DNS questions and time is spent")]
    Spent,
}

impl DnsError {
    /// Whether the answer may be another one later: everything but [`DnsError::NoRecords`].
    #[must_use]
    pub fn is_temporary(self) -> bool {
        !matches!(self, Self::NoRecords { .. })
    }
}

/// The type of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Names of an address.
    Ptr,
    /// Texts.
    Txt,
}

impl RecordType {
    /// The type's mnemonic, upper case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the checks ask. Names are absolute: no search list applies. An `Ok` is never empty.
pub trait Resolve: Send + Sync {
    /// TXT records, in the order of the answer.
    ///
    /// # Errors
    /// See [`DnsError`]; the same holds for all methods here.
    fn txt(&self, name: &Name) -> impl Future<Output = Result<Txt, DnsError>> + Send;

    /// IPv4 addresses.
    ///
    /// # Errors
    /// See [`DnsError`].
    fn a(&self, name: &Name) -> impl Future<Output = Result<Arc<[Ipv4Addr]>, DnsError>> + Send;

    /// IPv6 addresses.
    ///
    /// # Errors
    /// See [`DnsError`].
    fn aaaa(&self, name: &Name) -> impl Future<Output = Result<Arc<[Ipv6Addr]>, DnsError>> + Send;

    /// Mail exchangers, the lowest preference value first.
    ///
    /// # Errors
    /// See [`DnsError`].
    fn mx(&self, name: &Name) -> impl Future<Output = Result<Arc<[Mx]>, DnsError>> + Send;

    /// The names of an address, through `in-addr.arpa` or `ip6.arpa`.
    ///
    /// # Errors
    /// See [`DnsError`].
    fn ptr(&self, address: IpAddr) -> impl Future<Output = Result<Arc<[Name]>, DnsError>> + Send;
}

macro_rules! delegate_resolve {
    ($($generics:tt)*) => {
        $($generics)* {
            fn txt(&self, name: &Name) -> impl Future<Output = Result<Txt, DnsError>> + Send {
                (**self).txt(name)
            }
            fn a(
                &self,
                name: &Name,
            ) -> impl Future<Output = Result<Arc<[Ipv4Addr]>, DnsError>> + Send {
                (**self).a(name)
            }
            fn aaaa(
                &self,
                name: &Name,
            ) -> impl Future<Output = Result<Arc<[Ipv6Addr]>, DnsError>> + Send {
                (**self).aaaa(name)
            }
            fn mx(&self, name: &Name) -> impl Future<Output = Result<Arc<[Mx]>, DnsError>> + Send {
                (**self).mx(name)
            }
            fn ptr(
                &self,
                address: IpAddr,
            ) -> impl Future<Output = Result<Arc<[Name]>, DnsError>> + Send {
                (**self).ptr(address)
            }
        }
    };
}

delegate_resolve!(impl<R: Resolve> Resolve for &R);
delegate_resolve!(impl<R: Resolve> Resolve for Arc<R>);
