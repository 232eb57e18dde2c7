//! Goldens: worlds in YAML, and what translate makes of them.
//!
//! In goes each `goldens/<topic>/<name>.in.yaml`, one world in one file; it is compared with
//! `<name>.out.yaml` beside it: snapshots (keys by fingerprint), every status, and manifests where
//! the world asks for them. `UPDATE=1 cargo test -p postern-tests --test goldens` writes them
//! anew; read the difference before you commit it, for these files are the specification.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use jiff::Timestamp;
use postern_config::{CertificateKey, Config, Credential, Keys, Snapshot};
use postern_operator::translate::translate;
use postern_operator::translation::{GatewayOutput, Translation};
use postern_operator::world::{Child, Mode, Namespaces, ObjectKey, World};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands in place of a part that is all documented defaults.
const DEFAULTS: &str = "documented defaults";

/// The first document of a golden: what is not an object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Header {
    now: Timestamp,
    #[serde(default)]
    standalone: bool,
    #[serde(default)]
    show: BTreeSet<Show>,
    #[serde(default)]
    gateway_namespaces: Option<BTreeSet<String>>,
    #[serde(default)]
    secret_namespaces: Option<BTreeSet<String>>,
    /// The CRD of the grants is there even if no grant is.
    #[serde(default)]
    reference_grants: bool,
    #[serde(default)]
    monitoring_namespaces: Vec<String>,
    #[serde(default)]
    children: BTreeMap<String, Vec<FoundChild>>,
    #[serde(default)]
    services: BTreeMap<String, Vec<std::net::SocketAddr>>,
    /// Pairs that were generated before, by the Secret's name.
    #[serde(default)]
    generated: BTreeMap<String, Pair>,
    /// Certificates in the snapshot that a gateway runs, by gateway and id.
    #[serde(default)]
    current: BTreeMap<String, BTreeMap<String, Pair>>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
enum Show {
    /// Manifests too.
    Manifests,
    /// Policies, resolver and telemetry in full, even where they are all defaults.
    Defaults,
}

#[derive(Deserialize)]
struct FoundChild {
    kind: String,
    name: String,
    installation: Option<String>,
}

#[derive(Deserialize)]
struct Pair {
    crt: String,
    key: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens")
}

#[test]
fn worlds_are_translated_as_the_goldens_say() {
    let inputs = inputs();
    assert!(
        inputs.len() >= 40,
        "only {} goldens in {}",
        inputs.len(),
        root().display()
    );
    let update = std::env::var_os("UPDATE").is_some();
    let mut failures = String::new();
    for input in &inputs {
        let found = render(input);
        let output = PathBuf::from(input.to_string_lossy().replace(".in.yaml", ".out.yaml"));
        let expected = std::fs::read_to_string(&output).unwrap_or_default();
        if found == expected {
            continue;
        }
        if update {
            std::fs::write(&output, &found).unwrap();
        } else {
            let _ = writeln!(
                failures,
                "{}:\n{}",
                output.display(),
                difference(&expected, &found)
            );
        }
    }
    assert!(failures.is_empty(), "{failures}\nUPDATE=1 writes them anew");
}

#[test]
fn the_index_names_every_golden_and_every_output_has_an_input() {
    let index = std::fs::read_to_string(root().join("README.md")).unwrap();
    for input in inputs() {
        let name = input
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .replace(".in.yaml", "");
        assert!(
            index.contains(&format!("`{name}`")),
            "goldens/README.md does not name {name}"
        );
    }
    for output in files(".out.yaml") {
        let input = output.to_string_lossy().replace(".out.yaml", ".in.yaml");
        assert!(
            Path::new(&input).exists(),
            "{} has no input",
            output.display()
        );
    }
}

fn inputs() -> Vec<PathBuf> {
    files(".in.yaml")
}

fn files(suffix: &str) -> Vec<PathBuf> {
    let topics = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let topics = topics.filter(|path| path.is_dir());
    let files = topics.flat_map(|topic| std::fs::read_dir(topic).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

/// The world of a file, translated, as YAML.
fn render(input: &Path) -> String {
    let text = std::fs::read_to_string(input).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&with_pems(&text))
        .unwrap_or_else(|e| panic!("{}: {e}", input.display()));
    let (header, objects) = documents.split_first().unwrap();
    let header: Header = serde_json::from_value(header.clone())
        .unwrap_or_else(|e| panic!("{}: first document: {e}", input.display()));
    let show_all = header.show.contains(&Show::Defaults);
    let show_manifests = header.show.contains(&Show::Manifests);
    let mut world = header.world();
    for object in objects {
        world
            .insert_observed(object.clone())
            .unwrap_or_else(|e| panic!("{}: {e}", input.display()));
    }
    let translation = translate(&world);
    assert_eq!(translation, translate(&world), "translate is not pure");
    let shown = show(&translation, show_manifests, show_all);
    let shown = serde_saphyr::to_string(&shown).unwrap();
    assert_no_secret(&world, &shown);
    shown
}

/// `${name}` stands for `goldens/pem/<name>.pem`, as a quoted YAML string.
fn with_pems(text: &str) -> String {
    let mut result = text.to_owned();
    for entry in std::fs::read_dir(root().join("pem")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let pem = Value::String(std::fs::read_to_string(&path).unwrap()).to_string();
        result = result.replace(&format!("${{{name}}}"), &pem);
    }
    result
}

impl Header {
    fn world(self) -> World {
        let mode = if self.standalone {
            Mode::Standalone
        } else {
            Mode::Cluster
        };
        let namespaces =
            |names: Option<BTreeSet<String>>| names.map_or(Namespaces::All, Namespaces::Only);
        let mut world = World::new(self.now, mode);
        world.image = "registry.test/postern:1".to_owned();
        world.gateway_namespaces = namespaces(self.gateway_namespaces);
        world.secrets.permitted = namespaces(self.secret_namespaces);
        world.reference_grants = self.reference_grants.then(BTreeMap::new);
        world.monitoring_namespaces = self.monitoring_namespaces;
        world.children = map_keys(self.children, |children| {
            let child = |c: FoundChild| Child {
                kind: c.kind,
                name: c.name,
                installation: c.installation,
            };
            children.into_iter().map(child).collect()
        });
        world.generated = map_keys(self.generated, Pair::into_key);
        world.current = map_keys(self.current, |pairs| Arc::new(running(pairs)));
        world.service_addresses = self.services.into_iter().map(service).collect();
        world
    }
}

impl Pair {
    fn into_key(self) -> CertificateKey {
        CertificateKey {
            chain_pem: self.crt,
            key_pem: self.key,
        }
    }
}

/// A snapshot of which only the certificates matter.
fn running(pairs: BTreeMap<String, Pair>) -> Snapshot {
    let config: Config = serde_json::from_value(json!({
        "gateway": {"namespace": "", "name": ""}, "hostname": "", "authservId": "",
        "listeners": [], "routes": [], "backends": {}, "generations": {},
        "resolver": {
            "nameservers": [], "timeoutMs": 0, "attempts": 0, "cacheEntries": 0, "cacheMaxTtlS": 0
        },
        "telemetry": {"recipients": "Domain"}, "drain": {"minDurationMs": 0, "timeoutMs": 0},
    }))
    .unwrap();
    let certificates = pairs
        .into_iter()
        .map(|(id, pair)| (id, pair.into_key()))
        .collect();
    Snapshot {
        config,
        keys: Keys {
            certificates,
            credentials: BTreeMap::new(),
        },
    }
}

fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectKey::new(namespace, name)
}

fn map_keys<T, U>(map: BTreeMap<String, T>, f: impl Fn(T) -> U) -> BTreeMap<ObjectKey, U> {
    map.into_iter()
        .map(|(name, value)| (key(&name), f(value)))
        .collect()
}

/// `namespace/name:port`.
fn service(
    (name, addresses): (String, Vec<std::net::SocketAddr>),
) -> ((ObjectKey, u16), Vec<std::net::SocketAddr>) {
    let (name, port) = name.rsplit_once(':').unwrap();
    ((key(name), port.parse().unwrap()), addresses)
}

fn show(translation: &Translation, manifests: bool, all: bool) -> Value {
    let gateways: Map<String, Value> = translation
        .gateways
        .iter()
        .map(|(key, output)| (key.to_string(), show_gateway(output, manifests, all)))
        .collect();
    json!({
        "gateways": gateways,
        "status": {
            "gateways": by_name(&translation.gateway_statuses),
            "routes": by_name(&translation.route_statuses),
            "policies": by_name(&translation.policy_statuses),
        },
        "recheckAt": translation.recheck_at.map(|time| time.to_string()),
    })
}

fn by_name<T: serde::Serialize>(map: &BTreeMap<ObjectKey, T>) -> Map<String, Value> {
    map.iter()
        .map(|(k, v)| (k.to_string(), serde_json::to_value(v).unwrap()))
        .collect()
}

fn show_gateway(output: &GatewayOutput, manifests: bool, all: bool) -> Value {
    let mut shown = Map::new();
    if let Some(snapshot) = &output.snapshot {
        // What a pod cannot read back is no snapshot.
        let encoded = snapshot.encode().unwrap();
        let set = postern_config::head::SetHash {
            set: postern_config::head::Set::A,
            hash: encoded.hash.clone(),
        };
        assert_eq!(
            *snapshot,
            Snapshot::decode(&set, &encoded.config, &encoded.keys).unwrap()
        );
        shown.insert("snapshot".to_owned(), show_snapshot(snapshot, all));
    } else {
        shown.insert("snapshot".to_owned(), Value::Null);
    }
    if !output.generated.is_empty() {
        let generated: Vec<_> = output.generated.iter().map(ToString::to_string).collect();
        let generate: Vec<_> = output
            .generate
            .iter()
            .map(|one| one.name.to_string())
            .collect();
        shown.insert("generated".to_owned(), json!(generated));
        shown.insert("generate".to_owned(), json!(generate));
    }
    if manifests {
        shown.insert(
            "manifests".to_owned(),
            serde_json::to_value(&output.manifests).unwrap(),
        );
    }
    Value::Object(shown)
}

fn show_snapshot(snapshot: &Snapshot, all: bool) -> Value {
    let mut config = serde_json::to_value(&snapshot.config).unwrap();
    if !all {
        let defaults = defaults();
        for part in ["resolver", "telemetry", "drain"] {
            fold(&mut config[part], &defaults[part]);
        }
        for listener in config["listeners"].as_array_mut().unwrap() {
            fold(
                &mut listener["enforced"],
                &defaults["listeners"][0]["enforced"],
            );
        }
        for route in config["routes"].as_array_mut().unwrap() {
            for rule in route["rules"].as_array_mut().unwrap() {
                let known = &defaults["routes"][0]["rules"][0]["enforced"];
                fold(&mut rule["enforced"], known);
            }
        }
    }
    let pem = |pair: &CertificateKey| fingerprint(&format!("{}{}", pair.chain_pem, pair.key_pem));
    let login = |c: &Credential| fingerprint(&format!("{}\0{}", c.username, c.password));
    let keys = &snapshot.keys;
    let certificates: BTreeMap<_, _> = keys
        .certificates
        .iter()
        .map(|(id, pair)| (id, pem(pair)))
        .collect();
    let credentials: BTreeMap<_, _> = keys
        .credentials
        .iter()
        .map(|(id, one)| (id, login(one)))
        .collect();
    json!({"config": config, "keys": {"certificates": certificates, "credentials": credentials}})
}

fn fold(part: &mut Value, defaults: &Value) {
    if part == defaults {
        *part = Value::String(DEFAULTS.to_owned());
    }
}

/// The snapshot of a world in which nothing is set.
fn defaults() -> Value {
    let mut world = World::new(Timestamp::UNIX_EPOCH, Mode::Cluster);
    let metadata = json!({"name": "edge", "namespace": "mail"});
    let gateway = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "MailGateway", "metadata": metadata,
        "spec": {
            "hostname": "mx1.example.com",
            "listeners": [{"name": "mx", "port": 25, "protocol": "SMTP"}],
        },
    });
    let route = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "MailRoute", "metadata": metadata,
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "recipients": ["acme.test"],
            "rules": [{"name": "default", "backends": [{"discard": {}}]}],
        },
    });
    for object in [gateway, route] {
        world.insert(object).unwrap();
    }
    let translation = translate(&world);
    let snapshot = translation.gateways[&key("mail/edge")]
        .snapshot
        .as_ref()
        .unwrap();
    serde_json::to_value(&snapshot.config).unwrap()
}

/// FNV-1a: enough to see that one secret is not another.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("fingerprint {hash:016x}")
}

/// No secret stands in a snapshot's config, a status or a manifest.
fn assert_no_secret(world: &World, shown: &str) {
    for (key, secret) in &world.secrets.objects {
        for (name, value) in secret.data.iter().filter(|(name, _)| *name != "tls.crt") {
            let Ok(text) = std::str::from_utf8(value) else {
                continue;
            };
            let lines = text
                .lines()
                .filter(|line| line.len() >= 8 && !line.contains("PRIVATE KEY"));
            for line in lines {
                assert!(!shown.contains(line), "{name} of Secret {key} is shown");
            }
        }
    }
}

/// The lines that differ, with three lines around them.
fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(&new).take_while(same).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(same)
        .count();
    let mut text = String::new();
    let mut lines = |sign: &str, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{sign}{line}");
        }
    };
    lines(" ", &old[head.saturating_sub(3)..head]);
    lines("-", &old[head..old.len() - tail]);
    lines("+", &new[head..new.len() - tail]);
    lines(
        " ",
        &new[new.len() - tail..(new.len() - tail + 3).min(new.len())],
    );
    text
}
