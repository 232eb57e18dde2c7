//! Names to addresses.

use futures::future::BoxFuture;
use postern_verify::Name;
use postern_verify::resolve::{DnsError, Mx, Resolve};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The gateway's resolver (`spec.resolver`) as delivery needs it. Every
/// [`postern_verify::Resolve`] is one.
pub trait Names: Send + Sync + 'static {
    /// IPv4 addresses of an absolute name.
    fn a<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv4Addr]>, DnsError>>;
    /// IPv6 addresses of an absolute name.
    fn aaaa<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv6Addr]>, DnsError>>;
    /// Mail exchangers of an absolute name.
    fn mx<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Mx]>, DnsError>>;
}

impl<R: Resolve + 'static> Names for R {
    fn a<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv4Addr]>, DnsError>> {
        Box::pin(Resolve::a(self, name))
    }
    fn aaaa<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv6Addr]>, DnsError>> {
        Box::pin(Resolve::aaaa(self, name))
    }
    fn mx<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Mx]>, DnsError>> {
        Box::pin(Resolve::mx(self, name))
    }
}
