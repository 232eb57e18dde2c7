//! Policies and snapshots for unit tests.

use postern_config::policy::{
    Action, DataLimits, DataPolicy, DataTimeouts, DkimActions, DmarcActions, LengthTag, Mark,
    OnDmarcReject, RcptLimits, RcptPolicy, RecipientAccess, RecipientPolicy, Sourced, SpfActions,
    TrustedForwarders, Verify,
};
use postern_config::telemetry::{Recipients, Telemetry};
use postern_config::{Config, Drain, GatewayIdentity, Keys, Resolver, Snapshot};
use std::collections::BTreeMap;

/// A section without a policy.
pub(crate) fn default<T>(value: T) -> Sourced<T> {
    Sourced {
        policy: None,
        value,
    }
}

/// The documented defaults of `verify`.
pub(crate) fn verify() -> Verify {
    Verify {
        spf: SpfActions {
            on_fail: Action::Tag,
            on_soft_fail: Action::Accept,
            on_perm_error: Action::Tag,
            on_temp_error: Action::Tag,
        },
        dkim: DkimActions {
            on_fail: Action::Accept,
            max_signatures: 8,
            length_tag: LengthTag::Ignore,
        },
        dmarc: DmarcActions {
            on_reject: OnDmarcReject::Reject,
            on_quarantine: Action::Tag,
        },
        trusted_sealers: vec![],
        iprev_on_fail: Action::Accept,
        from_on_ambiguous: Action::Reject,
        trusted_forwarders: TrustedForwarders::default(),
    }
}

/// The documented defaults of rcpt and data.
pub(crate) fn recipient_policy() -> RecipientPolicy {
    RecipientPolicy {
        rcpt: RcptPolicy {
            recipients: default(RecipientAccess::default()),
            limits: default(RcptLimits { recipients: 100 }),
        },
        data: DataPolicy {
            limits: default(DataLimits {
                message_size: 25 << 20,
                received_headers: 100,
                min_data_rate: 1024,
            }),
            timeouts: default(DataTimeouts { data_ms: 600_000 }),
            verify: default(verify()),
            mark: default(Mark::default()),
        },
    }
}

/// A snapshot without listeners.
pub(crate) fn snapshot(hostname: &str) -> Snapshot {
    let config = Config {
        gateway: GatewayIdentity {
            namespace: "mail".into(),
            name: "edge".into(),
        },
        hostname: hostname.into(),
        authserv_id: "acme.test".into(),
        postmaster: None,
        listeners: vec![],
        routes: vec![],
        backends: BTreeMap::new(),
        resolver: Resolver {
            nameservers: vec![],
            timeout_ms: 2000,
            attempts: 2,
            cache_entries: 0,
            cache_max_ttl_s: 3600,
        },
        telemetry: Telemetry {
            traces: None,
            metrics: None,
            recipients: Recipients::Domain,
        },
        drain: Drain {
            min_duration_ms: 30_000,
            timeout_ms: 300_000,
        },
        generations: BTreeMap::new(),
    };
    Snapshot {
        config,
        keys: Keys::default(),
    }
}
