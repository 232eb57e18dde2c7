//! Policies and snapshots for unit tests.

use postern_config::policy::{
    Action, DataLimits, DataPolicy, DataTimeouts, DkimActions, DmarcActions, LengthTag, Mark,
    OnDmarcReject, RcptLimits, RcptPolicy, RecipientAccess, RecipientPolicy, Sourced, SpfActions,
    TrustedForwarders, Verify,
};

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
