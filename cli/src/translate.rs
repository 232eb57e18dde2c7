//! `postern translate`: shows what the operator would make of files.

use crate::Error;
use crate::compile::{Generated, Input, compile};
use jiff::Timestamp;
use postern_operator::translation::Translation;
use serde::Serialize;
use std::collections::BTreeMap;

/// Arguments of `postern translate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// What to show.
    #[arg(short, long, value_enum, default_value_t = Output::Status)]
    output: Output,
}

/// What `postern translate` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// The configuration of each gateway, without its keys.
    Snapshot,
    /// The conditions of every object.
    Status,
    /// The objects that the operator writes into a cluster.
    Manifests,
}

/// Prints YAML. Faults in the files go to the standard error; what they leave is shown.
///
/// # Errors
/// When a path cannot be read, or some object could not be read at all.
pub fn run(args: &Args) -> Result<(), Error> {
    let mut input = args.input.clone();
    input.cluster = args.output == Output::Manifests;
    let compiled = compile(&input, Timestamp::now(), &mut Generated::new())?;
    for problem in &compiled.problems {
        crate::warn(format_args!("{problem}"));
    }
    let text = match args.output {
        Output::Snapshot => snapshots(&compiled.translation),
        Output::Status => statuses(&compiled.translation),
        Output::Manifests => manifests(&compiled.translation),
    }?;
    crate::print(&text)
}

fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|e| Error::failed("YAML", e))
}

fn snapshots(translation: &Translation) -> Result<String, Error> {
    let configs: BTreeMap<String, _> = translation
        .gateways
        .iter()
        .filter_map(|(key, gateway)| Some((key.to_string(), &gateway.snapshot.as_ref()?.config)))
        .collect();
    yaml(&configs)
}

fn manifests(translation: &Translation) -> Result<String, Error> {
    let mut text = String::new();
    for gateway in translation.gateways.values() {
        let Some(manifests) = &gateway.manifests else {
            continue;
        };
        let objects = serde_json::to_value(manifests).map_err(|e| Error::failed("JSON", e))?;
        for object in objects
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.values())
        {
            text.push_str("---\n");
            text.push_str(&yaml(object)?);
        }
    }
    Ok(text)
}

/// The statuses by kind.
#[derive(Serialize)]
struct Statuses<G, R, P> {
    #[serde(rename = "MailGateway")]
    gateways: BTreeMap<String, G>,
    #[serde(rename = "MailRoute")]
    routes: BTreeMap<String, R>,
    #[serde(rename = "MailPolicy")]
    policies: BTreeMap<String, P>,
}

fn statuses(translation: &Translation) -> Result<String, Error> {
    fn named<K: ToString, V>(map: &BTreeMap<K, V>) -> BTreeMap<String, &V> {
        map.iter()
            .map(|(key, status)| (key.to_string(), status))
            .collect()
    }
    yaml(&Statuses {
        gateways: named(&translation.gateway_statuses),
        routes: named(&translation.route_statuses),
        policies: named(&translation.policy_statuses),
    })
}
