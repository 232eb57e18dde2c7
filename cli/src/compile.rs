//! From files to what a gateway runs: the way that `run`, `validate` and `translate` share.
//!
//! Paths go in; the translation of their objects comes out, with the generated pairs filled in and
//! every fault as a [`Problem`] that names file, line and field.

use crate::Error;
use crate::files::{self, Loaded, Problem};
use jiff::Timestamp;
use postern_config::CertificateKey;
use postern_operator::generate::generate;
use postern_operator::translate::translate;
use postern_operator::translation::{Conditions, Translation, Verdict};
use postern_operator::world::{Mode, ObjectKey};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Which files, and what stands beside them.
#[derive(Debug, Clone, clap::Args)]
pub struct Input {
    /// Files or folders with YAML or JSON objects; may be repeated. `-` reads standard input.
    #[arg(
        short = 'f',
        long = "filename",
        required = true,
        num_args = 1..,
        value_name = "FILE|DIR"
    )]
    pub filename: Vec<PathBuf>,
    /// Where a Service is, in place of its EndpointSlices; may be repeated.
    #[arg(long, value_name = "NAMESPACE/NAME:PORT=ADDRESS", value_parser = parse_service)]
    pub service: Vec<ServiceAddress>,
    /// Compile as in a cluster: ports below 1024 at +10000, manifests rendered.
    #[arg(skip)]
    pub cluster: bool,
}

/// `--service mail/mailstore:24=127.0.0.1:2424`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    service: ObjectKey,
    port: u16,
    address: SocketAddr,
}

impl ServiceAddress {
    /// The address of one port of a Service.
    #[must_use]
    pub fn new(service: ObjectKey, port: u16, address: SocketAddr) -> Self {
        Self {
            service,
            port,
            address,
        }
    }
}

fn parse_service(text: &str) -> Result<ServiceAddress, String> {
    let wanted = || format!("{text:?} is not NAMESPACE/NAME:PORT=IP:PORT");
    let (service, address) = text.split_once('=').ok_or_else(wanted)?;
    let (service, port) = service.rsplit_once(':').ok_or_else(wanted)?;
    let (namespace, name) = service.split_once('/').ok_or_else(wanted)?;
    Ok(ServiceAddress {
        service: ObjectKey::new(namespace, name),
        port: port.parse().map_err(|_| wanted())?,
        address: address.parse().map_err(|_| wanted())?,
    })
}

/// Pairs that were generated once and are kept over changes of the files.
pub type Generated = BTreeMap<ObjectKey, CertificateKey>;

/// Files, compiled.
#[derive(Debug)]
pub struct Compiled {
    /// What follows from the objects.
    pub translation: Translation,
    /// What is wrong with them; the translation is of the others.
    pub problems: Vec<Problem>,
}

/// Reads and compiles. `generated` is extended by what had to be made.
///
/// # Errors
/// When a path cannot be read, or a key pair cannot be made.
pub fn compile(
    input: &Input,
    now: Timestamp,
    generated: &mut Generated,
) -> Result<Compiled, Error> {
    let mut loaded = files::load(&input.filename, now)?;
    if input.cluster {
        loaded.world.mode = Mode::Cluster;
    }
    for one in &input.service {
        let key = (one.service.clone(), one.port);
        loaded
            .world
            .service_addresses
            .entry(key)
            .or_default()
            .push(one.address);
    }
    loaded.world.generated.clone_from(generated);
    let mut translation = translate(&loaded.world);
    let wanted: Vec<_> = translation
        .gateways
        .values()
        .flat_map(|gateway| gateway.generate.clone())
        .collect();
    if !wanted.is_empty() {
        for one in wanted {
            let pair = generate(&one.kind, now)
                .map_err(|e| Error::failed("self-signed certificate", e))?;
            generated.insert(one.name, pair);
        }
        loaded.world.generated.clone_from(generated);
        translation = translate(&loaded.world);
    }
    let mut problems = std::mem::take(&mut loaded.problems);
    problems.extend(refused(&loaded, &translation));
    problems.sort();
    problems.dedup();
    Ok(Compiled {
        translation,
        problems,
    })
}

/// Every condition that is False, as a problem of its object.
fn refused(loaded: &Loaded, translation: &Translation) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |kind: &str, key: &ObjectKey, field: &str, conditions: &Conditions| {
        let verdicts = std::iter::once(&conditions.accepted).chain(&conditions.resolved_refs);
        for verdict in verdicts.filter(|verdict| !verdict.status) {
            let reason = format!("{kind} {key}: {}: {}", verdict.reason, verdict.message);
            problems.push(loaded.problem(kind, &key.to_string(), field, reason));
        }
    };
    for (key, status) in &translation.gateway_statuses {
        // A listener says more than the gateway's worst-of does, and says where.
        let mut told = false;
        for (index, listener) in status.listeners.iter().enumerate() {
            told |= is_refused(&listener.conditions);
            let field = format!("spec.listeners[{index}]");
            add("MailGateway", key, &field, &listener.conditions);
        }
        if !told {
            add("MailGateway", key, "spec", &status.conditions);
        }
    }
    for (key, status) in &translation.route_statuses {
        let told = status
            .parents
            .iter()
            .any(|parent| is_refused(&parent.conditions));
        for parent in &status.parents {
            add("MailRoute", key, "spec", &parent.conditions);
        }
        if !told {
            add("MailRoute", key, "spec", &status.conditions);
        }
    }
    for (key, status) in &translation.policy_statuses {
        add("MailPolicy", key, "spec", &status.conditions);
    }
    problems
}

/// The conditions of every object, a line each, as `kubectl get` shows them in columns.
#[must_use]
pub fn statuses(translation: &Translation) -> Vec<String> {
    fn line(kind: &str, key: &ObjectKey, conditions: &Conditions) -> String {
        let word = |verdict: &Verdict| match verdict.status {
            true => "True".to_owned(),
            false => format!("False/{} ({})", verdict.reason, verdict.message),
        };
        let resolved = conditions.resolved_refs.as_ref();
        let resolved = resolved.map_or_else(String::new, |v| format!(" ResolvedRefs={}", word(v)));
        format!(
            "{kind} {key} Accepted={}{resolved}",
            word(&conditions.accepted)
        )
    }
    let gateways = translation.gateway_statuses.iter();
    let routes = translation.route_statuses.iter();
    let policies = translation.policy_statuses.iter();
    gateways
        .map(|(key, status)| line("MailGateway", key, &status.conditions))
        .chain(routes.map(|(key, status)| line("MailRoute", key, &status.conditions)))
        .chain(policies.map(|(key, status)| line("MailPolicy", key, &status.conditions)))
        .collect()
}

fn is_refused(conditions: &Conditions) -> bool {
    !conditions.accepted.status || conditions.resolved_refs.as_ref().is_some_and(|v| !v.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_address_is_parsed_or_explained() {
        let parsed = parse_service("mail/store:24=127.0.0.1:2424").unwrap();
        assert_eq!(parsed.service, ObjectKey::new("mail", "store"));
        assert_eq!((parsed.port, parsed.address.port()), (24, 2424));
        for bad in [
            "",
            "store:24=127.0.0.1:1",
            "mail/store=127.0.0.1:1",
            "mail/store:24=here",
        ] {
            let error = parse_service(bad).unwrap_err();
            assert!(error.contains("NAMESPACE/NAME:PORT=IP:PORT"), "{error}");
        }
    }
}
