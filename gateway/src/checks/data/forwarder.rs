//! `verify.trustedForwarders`: did this mail come through somebody who is trusted to forward?

use crate::checks::pattern;
use postern_config::policy::TrustedForwarders;
use postern_verify::dkim::{self, DkimResult};
use postern_verify::spf::{self, SpfResult};
use std::net::IpAddr;

/// The trusted forwarder, as a network or a domain: the client is in one of the networks, or one
/// of the domains passes SPF or DKIM. Its mail is not held to SPF and DMARC.
#[must_use]
pub fn find(
    trusted: &TrustedForwarders,
    client: IpAddr,
    spf: &spf::Outcome,
    dkim: &dkim::Outcome,
) -> Option<String> {
    if let Some(network) = trusted
        .networks
        .iter()
        .find(|network| network.contains(&client))
    {
        return Some(network.to_string());
    }
    let spf = spf
        .domain
        .as_ref()
        .filter(|_| spf.result == SpfResult::Pass);
    let signed = dkim
        .signatures
        .iter()
        .filter(|one| one.result == DkimResult::Pass);
    let mut passed = spf
        .into_iter()
        .chain(signed.filter_map(|one| one.domain.as_ref()));
    passed
        .find(|name| {
            trusted
                .domains
                .iter()
                .any(|one| pattern::domain(one, name.as_str()))
        })
        .map(ToString::to_string)
}
