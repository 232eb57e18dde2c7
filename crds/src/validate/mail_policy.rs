//! The rules of MailPolicy.

use super::{Faults, FieldError, distinct};
use crate::mail_policy::{
    BEFORE_RCPT, Limits, MailPolicySpec, Mark, Sections, TargetKind, Timeouts, before_rcpt_message,
};

/// Judges a spec.
///
/// # Errors
/// All faults.
pub fn mail_policy(spec: &MailPolicySpec) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    faults.require(
        distinct(&spec.target_refs),
        "spec.targetRefs",
        "targetRefs must differ from each other",
    );
    for (i, target) in spec.target_refs.iter().enumerate() {
        faults.require(
            target.kind != TargetKind::MailSender || target.section_name.is_none(),
            format!("spec.targetRefs[{i}].sectionName"),
            "a MailSender has no sections: remove sectionName",
        );
    }
    faults.require(
        spec.defaults.is_some() || spec.overrides.is_some(),
        "spec",
        "defaults or overrides is needed: the policy says nothing",
    );
    let on_route = spec
        .target_refs
        .iter()
        .any(|target| target.kind == TargetKind::MailRoute);
    for (part, sections) in [("defaults", &spec.defaults), ("overrides", &spec.overrides)] {
        let Some(one) = sections else { continue };
        let path = format!("spec.{part}");
        if on_route {
            before_rcpt(&mut faults, &path, one);
        }
        sections_of(&mut faults, &path, one);
    }
    faults.finish()
}

/// What [`BEFORE_RCPT`] names cannot hold on a MailRoute.
fn before_rcpt(faults: &mut Faults, path: &str, sections: &Sections) {
    for (section, fields) in BEFORE_RCPT {
        let present = match section {
            "access" => sections.access.as_ref().is_some_and(|access| {
                access.clients.is_some() || access.helo.is_some() || access.senders.is_some()
            }),
            "limits" => sections.limits.as_ref().is_some_and(|limits| {
                limits.connections.is_some()
                    || limits.connections_per_network.is_some()
                    || limits.commands.is_some()
                    || limits.errors.is_some()
                    || limits.bare_newlines.is_some()
            }),
            _ => sections
                .timeouts
                .as_ref()
                .is_some_and(|timeouts| timeouts.command.is_some() || timeouts.session.is_some()),
        };
        let message = before_rcpt_message(section, fields);
        faults.require(!present, format!("{path}.{section}"), message);
    }
}

fn sections_of(faults: &mut Faults, path: &str, sections: &Sections) {
    if let Some(one) = &sections.limits {
        limits(faults, &format!("{path}.limits"), one);
    }
    if let Some(one) = &sections.timeouts {
        timeouts(faults, &format!("{path}.timeouts"), one);
    }
    if let Some(one) = &sections.mark {
        mark(faults, &format!("{path}.mark"), one);
    }
}

fn limits(faults: &mut Faults, path: &str, limits: &Limits) {
    faults.size(
        &format!("{path}.messageSize"),
        limits.message_size,
        ("1Ki", "1Gi"),
    );
    faults.size(
        &format!("{path}.minDataRate"),
        limits.min_data_rate,
        ("0", "1Gi"),
    );
}

fn timeouts(faults: &mut Faults, path: &str, timeouts: &Timeouts) {
    faults.duration(&format!("{path}.command"), timeouts.command, ("1s", "1h"));
    faults.duration(&format!("{path}.data"), timeouts.data, ("1s", "24h"));
    faults.duration(&format!("{path}.session"), timeouts.session, ("1s", "24h"));
}

fn mark(faults: &mut Faults, path: &str, mark: &Mark) {
    let names: Vec<_> = mark
        .headers
        .iter()
        .map(|header| header.name.as_str().to_ascii_lowercase())
        .collect();
    faults.require(
        distinct(&names),
        format!("{path}.headers"),
        "two headers have one name; letters of either case are alike",
    );
    for (i, name) in names.iter().enumerate() {
        faults.require(
            name.starts_with("x-") && !name.starts_with("x-postern-"),
            format!("{path}.headers[{i}].name"),
            "name must begin with X- and not with X-Postern-",
        );
    }
}
