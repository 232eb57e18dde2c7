//! What policies in mode Monitor would have done (docs/policy.md, How policies meet).
//!
//! The rules of the accepted recipients go in. Out come the policies that a message is judged by
//! beside the enforced one, and a record of each limit that only Monitor policies set and that was
//! exceeded. They act on nothing, the transaction's key included: recipients that differ in nothing
//! else share a transaction.

use super::transaction::Transaction;
use crate::snapshot::Runtime;
use crate::telemetry::metrics::{CheckLabels, Metrics, ShadowLabels};
use crate::telemetry::record::CheckRecord;
use postern_config::policy::{MailPolicy, RecipientPolicy, Sourced, Verify};

/// Sets of Monitor policies that one message is judged by.
const SHADOWS: usize = 8;

/// A number that Monitor policies bound.
struct Bounded<'p> {
    /// The limit's path in a MailPolicy.
    check: &'static str,
    found: u64,
    limit: u64,
    policy: Option<&'p str>,
    /// What refuses it where it is enforced.
    would: &'static str,
}

impl Transaction {
    /// What Monitor policies of the recipients' rules make of `verify`, each that differs from what
    /// is enforced once.
    pub(super) fn shadows<'r>(
        &self,
        runtime: &'r Runtime,
        enforced: &Sourced<Verify>,
    ) -> Vec<&'r Sourced<Verify>> {
        let mut shadows = Vec::new();
        for found in self.rules.iter().filter_map(|rule| runtime.rule(*rule)) {
            let shadow = found.rule.shadow.as_ref().map(|shadow| &shadow.data.verify);
            let Some(shadow) = shadow.filter(|shadow| *shadow != enforced) else {
                continue;
            };
            if shadows.len() < SHADOWS && !shadows.contains(&shadow) {
                shadows.push(shadow);
            }
        }
        shadows
    }

    /// MAIL has declared its size: whether a Monitor policy of the listener takes that much.
    pub(super) fn monitor_size(&mut self, metrics: &Metrics, shadow: Option<&MailPolicy>) {
        let (Some(shadow), Some(found)) = (shadow, self.envelope.size) else {
            return;
        };
        let limits = &shadow.limits;
        self.bound(
            metrics,
            &Bounded {
                check: "limits.messageSize",
                found,
                limit: limits.value.message_size,
                policy: limits.policy.as_deref(),
                would: "Reject",
            },
        );
    }

    /// A recipient of this rule is accepted: whether its Monitor policies take one more. False: no.
    pub(super) fn monitor_recipient(&mut self, metrics: &Metrics, rule: (usize, usize)) -> bool {
        let runtime = self.runtime.clone();
        let found = runtime.rule(rule);
        let Some(shadow) = found.and_then(|found| found.rule.shadow.as_ref()) else {
            return true;
        };
        let limits = &shadow.rcpt.limits;
        let bounded = Bounded {
            check: "limits.recipients",
            found: self.monitored + 1,
            limit: u64::from(limits.value.recipients),
            policy: limits.policy.as_deref(),
            would: "Defer",
        };
        self.bound(metrics, &bounded);
        bounded.found <= bounded.limit
    }

    /// A message has come within all enforced limits: whether Monitor policies of the recipients'
    /// rules take so many octets, and so many Received fields.
    pub(super) fn monitor_limits(&mut self, metrics: &Metrics, (octets, received): (usize, usize)) {
        let runtime = self.runtime.clone();
        for rule in self.rules.clone() {
            let shadow = runtime
                .rule(rule)
                .and_then(|found| found.rule.shadow.as_ref());
            let bounds = shadow.map(|shadow| bounds(shadow, octets as u64, received as u64));
            for bounded in bounds.iter().flatten() {
                self.bound(metrics, bounded);
            }
        }
    }

    /// Records and counts what is beyond a limit, each limit once.
    fn bound(&mut self, metrics: &Metrics, bounded: &Bounded<'_>) {
        let Bounded {
            check,
            found,
            limit,
            policy,
            would,
        } = *bounded;
        if found <= limit || self.log.has_check(check) {
            return;
        }
        let policy = policy.unwrap_or("default");
        self.log.checked(CheckRecord {
            check,
            result: "exceeded".into(),
            detail: format!("{found}, of {limit} at most (policy {policy})"),
            action: "Accept",
            policy: None,
            shadow: Some(would),
        });
        let (result, action) = ("exceeded", "Accept");
        let labels = CheckLabels {
            check,
            result,
            action,
        };
        metrics.checks.get_or_create(&labels).inc();
        let labels = ShadowLabels {
            check,
            enforced: action,
            shadow: would,
        };
        metrics.shadow.get_or_create(&labels).inc();
    }
}

fn bounds(shadow: &RecipientPolicy, octets: u64, received: u64) -> [Bounded<'_>; 2] {
    let data = &shadow.data.limits;
    let by_data = |check, found, limit| Bounded {
        check,
        found,
        limit,
        policy: data.policy.as_deref(),
        would: "Reject",
    };
    let fields = u64::from(data.value.received_headers);
    [
        by_data("limits.messageSize", octets, data.value.message_size),
        by_data("limits.receivedHeaders", received, fields),
    ]
}
