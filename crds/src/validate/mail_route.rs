//! The rules of MailRoute.

use regex::RegexBuilder;

use super::{Faults, FieldError, distinct};
use crate::mail_gateway::TlsMode;
use crate::mail_route::{
    Backend, BackendProtocol, BackendTls, LocalPartMatch, LocalPartMatchType, MailRouteSpec, Rule,
};

/// The memory that a compiled regular expression may take, in bytes. The API bounds its length by
/// 256 characters, but `a{1000}{1000}` is short too.
const REGEX_SIZE_LIMIT: usize = 64 << 10;

/// Judges a spec.
///
/// # Errors
/// All faults.
pub fn mail_route(spec: &MailRouteSpec) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    faults.require(
        distinct(&spec.parent_refs),
        "spec.parentRefs",
        "parentRefs must differ from each other",
    );
    let names: Vec<_> = spec.rules.iter().map(|rule| &rule.name).collect();
    faults.require(distinct(&names), "spec.rules", "two rules have one name");
    for (i, one) in spec.rules.iter().enumerate() {
        rule(&mut faults, &format!("spec.rules[{i}]"), one);
    }
    faults.finish()
}

fn rule(faults: &mut Faults, path: &str, rule: &Rule) {
    for (i, one) in rule.matches.iter().enumerate() {
        local_part(
            faults,
            &format!("{path}.matches[{i}].localPart"),
            &one.local_part,
        );
    }
    faults.require(
        rule.backends
            .iter()
            .any(|backend| backend.weight != Some(0)),
        format!("{path}.backends"),
        "at least one backend must have a weight above 0",
    );
    for (i, one) in rule.backends.iter().enumerate() {
        backend(faults, &format!("{path}.backends[{i}]"), one);
    }
}

fn local_part(faults: &mut Faults, path: &str, local_part: &LocalPartMatch) {
    let path = format!("{path}.value");
    faults.require(
        !local_part.value.contains('@'),
        path.as_str(),
        "value is compared with what stands before the @ and cannot contain one; domains go into \
         recipients",
    );
    if local_part.type_ == Some(LocalPartMatchType::RegularExpression) {
        // CEL cannot say this with a message of its own: a bad expression ends its evaluation.
        let compiled = RegexBuilder::new(&local_part.value)
            .size_limit(REGEX_SIZE_LIMIT)
            .build();
        let message = match &compiled {
            Err(regex::Error::CompiledTooBig(_)) => "is too costly as a regular expression",
            _ => "is not a regular expression in RE2's syntax",
        };
        faults.require(compiled.is_ok(), path, message);
    }
}

fn backend(faults: &mut Faults, path: &str, backend: &Backend) {
    let targets = [
        backend.service.is_some(),
        backend.host.is_some(),
        backend.mx.is_some(),
        backend.discard.is_some(),
    ];
    faults.require(
        targets.into_iter().filter(|there| *there).count() == 1,
        path,
        "exactly one of service, host, mx and discard is needed",
    );
    faults.require(
        backend.mx.is_none() || suits_mx(backend),
        format!("{path}.mx"),
        "mx takes no auth, proxyProtocol, protocol LMTP, tls.serverName or tls.mode Implicit: \
         other mail servers know none of them",
    );
    faults.require(
        backend.discard.is_none() || suits_discard(backend),
        format!("{path}.discard"),
        "discard takes nothing but a weight: nobody is spoken to",
    );
    let verified = backend.tls.as_ref().is_some_and(|tls| verifies(tls.mode));
    faults.require(
        backend.auth.is_none() || verified,
        format!("{path}.auth"),
        "auth needs tls.mode Required or Implicit: credentials are never sent in the clear",
    );
    if let Some(one) = &backend.tls {
        tls(faults, &format!("{path}.tls"), one);
    }
}

fn suits_mx(backend: &Backend) -> bool {
    let tls = backend.tls.as_ref();
    backend.auth.is_none()
        && backend.proxy_protocol.is_none()
        && backend.protocol != Some(BackendProtocol::Lmtp)
        && tls.is_none_or(|tls| tls.server_name.is_none() && tls.mode != TlsMode::Implicit)
}

fn suits_discard(backend: &Backend) -> bool {
    backend.protocol.is_none()
        && backend.multiple_recipients.is_none()
        && backend.tls.is_none()
        && backend.auth.is_none()
        && backend.proxy_protocol.is_none()
}

fn tls(faults: &mut Faults, path: &str, tls: &BackendTls) {
    faults.require(
        verifies(tls.mode) || (tls.ca_refs.is_empty() && tls.server_name.is_none()),
        format!("{path}.mode"),
        "caRefs and serverName need mode Required or Implicit: certificates are verified in no \
         other",
    );
}

const fn verifies(mode: TlsMode) -> bool {
    matches!(mode, TlsMode::Required | TlsMode::Implicit)
}
