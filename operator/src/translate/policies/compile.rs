//! Merged sections as the gateway reads them: by stage, with every default written out.

use super::merge::{Merged, Pick};
use postern_config::policy as config;
use postern_config::{ListenerPolicy, RecipientPolicy};
use postern_crds::defaults;
use postern_crds::mail_policy::{
    Access, Action, BareNewlines, LengthTag, Limits, Mark, OnReject, Timeouts, Verify,
};
use postern_crds::scalar::{AddressPattern, Cidr, DomainPattern, GoDuration, Quantity};
use std::time::Duration;

/// The stages connection, helo and mail.
pub(super) fn listener(merged: &Merged<'_>) -> ListenerPolicy {
    ListenerPolicy {
        connection: config::ConnectionPolicy {
            clients: part(&merged.access, clients),
            limits: part(&merged.limits, connection_limits),
            timeouts: part(&merged.timeouts, session_timeouts),
        },
        helo: config::HeloPolicy {
            access: part(&merged.access, helo),
        },
        mail: config::MailPolicy {
            senders: part(&merged.access, senders),
            limits: part(&merged.limits, mail_limits),
        },
    }
}

/// The stages rcpt and data.
pub(super) fn recipient(merged: &Merged<'_>) -> RecipientPolicy {
    RecipientPolicy {
        rcpt: config::RcptPolicy {
            recipients: part(&merged.access, recipients),
            limits: part(&merged.limits, |limits| config::RcptLimits {
                recipients: limits.recipients.unwrap_or(defaults::RECIPIENTS),
            }),
        },
        data: config::DataPolicy {
            limits: part(&merged.limits, data_limits),
            timeouts: part(&merged.timeouts, |timeouts| config::DataTimeouts {
                data_ms: millis(timeouts.data, defaults::TIMEOUT_DATA),
            }),
            verify: part(&merged.verify, verify),
            mark: part(&merged.mark, mark),
        },
    }
}

/// A section's part for a stage, from the section or from its defaults.
fn part<T: Default, P>(pick: &Pick<'_, T>, compile: impl Fn(&T) -> P) -> config::Sourced<P> {
    match pick {
        Some((section, policy)) => config::Sourced {
            policy: Some(policy.clone()),
            value: compile(section),
        },
        None => config::Sourced {
            policy: None,
            value: compile(&T::default()),
        },
    }
}

fn clients(access: &Access) -> config::ClientAccess {
    let clients = access.clients.clone().unwrap_or_default();
    config::ClientAccess {
        allow: clients.allow.into_iter().map(Cidr::get).collect(),
        deny: clients.deny.into_iter().map(Cidr::get).collect(),
    }
}

fn helo(access: &Access) -> config::HeloAccess {
    let helo = access.helo.clone().unwrap_or_default();
    config::HeloAccess {
        require_fqdn: helo.require_fqdn.unwrap_or_default(),
        deny: helo.deny.iter().map(domain).collect(),
    }
}

fn senders(access: &Access) -> config::SenderAccess {
    let senders = access.senders.clone().unwrap_or_default();
    config::SenderAccess {
        allow: senders.allow.iter().map(address).collect(),
        deny: senders.deny.iter().map(address).collect(),
    }
}

fn recipients(access: &Access) -> config::RecipientAccess {
    let recipients = access.recipients.clone().unwrap_or_default();
    config::RecipientAccess {
        deny: recipients.deny.iter().map(address).collect(),
    }
}

fn connection_limits(limits: &Limits) -> config::ConnectionLimits {
    let per_network = limits.connections_per_network;
    config::ConnectionLimits {
        connections: limits.connections.unwrap_or(defaults::CONNECTIONS),
        connections_per_network: per_network.unwrap_or(defaults::CONNECTIONS_PER_NETWORK),
        commands: limits.commands.unwrap_or(defaults::COMMANDS),
        errors: limits.errors.unwrap_or(defaults::ERRORS),
    }
}

fn session_timeouts(timeouts: &Timeouts) -> config::SessionTimeouts {
    config::SessionTimeouts {
        command_ms: millis(timeouts.command, defaults::TIMEOUT_COMMAND),
        session_ms: millis(timeouts.session, defaults::TIMEOUT_SESSION),
    }
}

fn mail_limits(limits: &Limits) -> config::MailLimits {
    config::MailLimits {
        message_size: size(limits.message_size, defaults::MESSAGE_SIZE),
        bare_newlines: limits.bare_newlines.map(|what| match what {
            BareNewlines::Reject => config::BareNewlines::Reject,
            BareNewlines::Normalize => config::BareNewlines::Normalize,
        }),
    }
}

fn data_limits(limits: &Limits) -> config::DataLimits {
    config::DataLimits {
        message_size: size(limits.message_size, defaults::MESSAGE_SIZE),
        received_headers: limits
            .received_headers
            .unwrap_or(defaults::RECEIVED_HEADERS),
        min_data_rate: size(limits.min_data_rate, defaults::MIN_DATA_RATE),
    }
}

fn verify(verify: &Verify) -> config::Verify {
    let forwarders = verify.trusted_forwarders.clone().unwrap_or_default();
    let sealers = verify.arc.clone().unwrap_or_default().trusted_sealers;
    let iprev = verify.iprev.as_ref().and_then(|iprev| iprev.on_fail);
    let ambiguous = verify.from.as_ref().and_then(|from| from.on_ambiguous);
    config::Verify {
        spf: spf(verify),
        dkim: dkim(verify),
        dmarc: dmarc(verify),
        trusted_sealers: sealers.iter().map(ToString::to_string).collect(),
        iprev_on_fail: action(iprev, defaults::IPREV_ON_FAIL),
        from_on_ambiguous: action(ambiguous, defaults::FROM_ON_AMBIGUOUS),
        trusted_forwarders: config::TrustedForwarders {
            networks: forwarders.networks.into_iter().map(Cidr::get).collect(),
            domains: forwarders.domains.iter().map(domain).collect(),
        },
    }
}

fn spf(verify: &Verify) -> config::SpfActions {
    let spf = verify.spf.clone().unwrap_or_default();
    config::SpfActions {
        on_fail: action(spf.on_fail, defaults::SPF_ON_FAIL),
        on_soft_fail: action(spf.on_soft_fail, defaults::SPF_ON_SOFT_FAIL),
        on_perm_error: action(spf.on_perm_error, defaults::SPF_ON_PERM_ERROR),
        on_temp_error: action(spf.on_temp_error, defaults::SPF_ON_TEMP_ERROR),
    }
}

fn dkim(verify: &Verify) -> config::DkimActions {
    let dkim = verify.dkim.clone().unwrap_or_default();
    config::DkimActions {
        on_fail: action(dkim.on_fail, defaults::DKIM_ON_FAIL),
        max_signatures: dkim.max_signatures.unwrap_or(defaults::DKIM_MAX_SIGNATURES),
        length_tag: match dkim.length_tag.unwrap_or(defaults::DKIM_LENGTH_TAG) {
            LengthTag::Ignore => config::LengthTag::Ignore,
            LengthTag::Count => config::LengthTag::Count,
        },
    }
}

fn dmarc(verify: &Verify) -> config::DmarcActions {
    let dmarc = verify.dmarc.clone().unwrap_or_default();
    config::DmarcActions {
        on_reject: match dmarc.on_reject.unwrap_or(defaults::DMARC_ON_REJECT) {
            OnReject::Reject => config::OnDmarcReject::Reject,
            OnReject::RejectWithoutEvidence => config::OnDmarcReject::RejectWithoutEvidence,
            OnReject::Quarantine => config::OnDmarcReject::Quarantine,
        },
        on_quarantine: action(dmarc.on_quarantine, defaults::DMARC_ON_QUARANTINE),
    }
}

fn mark(mark: &Mark) -> config::Mark {
    let field =
        |one: &postern_crds::mail_policy::MarkHeader| (one.name.to_string(), one.value.to_string());
    config::Mark {
        headers: mark.headers.iter().map(field).collect(),
    }
}

fn action(written: Option<Action>, default: Action) -> config::Action {
    match written.unwrap_or(default) {
        Action::Accept => config::Action::Accept,
        Action::Tag => config::Action::Tag,
        Action::Defer => config::Action::Defer,
        Action::Reject => config::Action::Reject,
    }
}

fn domain(pattern: &DomainPattern) -> config::DomainPattern {
    match pattern {
        DomainPattern::Exact(name) => config::DomainPattern::Domain(name.to_string()),
        DomainPattern::Below(name) => config::DomainPattern::Wildcard(name.to_string()),
    }
}

fn address(pattern: &AddressPattern) -> config::AddressPattern {
    match pattern {
        AddressPattern::Address(address) => config::AddressPattern::Address(address.to_string()),
        AddressPattern::Domain(name) => config::AddressPattern::Domain(name.to_string()),
        AddressPattern::Below(name) => config::AddressPattern::Wildcard(name.to_string()),
        AddressPattern::Any => config::AddressPattern::Any,
    }
}

fn size(written: Option<Quantity>, default: u64) -> u64 {
    written.map_or(default, Quantity::bytes)
}

fn millis(written: Option<GoDuration>, default: Duration) -> u64 {
    let duration = written.map_or(default, GoDuration::get);
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
