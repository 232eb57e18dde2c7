//! Objects out of files: what `run`, `validate` and `translate` read.
//!
//! Paths go in; a [`World`] comes out, and a [`Problem`] with file, line and field for everything
//! that could not become part of it.

pub mod yaml;

use crate::Error;
use jiff::Timestamp;
use postern_crds::schema::{self, FieldError, Kind};
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use postern_operator::world::documents::{DocumentError, Inserted};
use postern_operator::world::{Mode, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use yaml::Document;

/// Octets of all files together; more is surely not what was meant.
const TOTAL: u64 = 256 << 20;

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named or found.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// The field's path; empty when it is about the whole document.
    pub field: String,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}

/// Where an object stands: `Kind/namespace/name` to its file and document.
type Places = BTreeMap<String, (PathBuf, Document)>;

/// What files held.
#[derive(Debug)]
pub struct Loaded {
    /// All objects that could be read.
    pub world: World,
    /// All that could not.
    pub problems: Vec<Problem>,
    places: Places,
    /// Objects that were seen, whatever became of them.
    documents: usize,
}

/// Reads the documents of one text; `name` stands for its file in messages.
#[must_use]
pub fn parse(name: &str, text: &str, now: Timestamp) -> Loaded {
    let mut loaded = Loaded::empty(now);
    read_documents(&mut loaded, Path::new(name), text);
    imply_namespaces(&mut loaded.world);
    loaded
}

impl Loaded {
    fn empty(now: Timestamp) -> Self {
        Self {
            world: World::new(now, Mode::Standalone),
            problems: Vec::new(),
            places: Places::new(),
            documents: 0,
        }
    }

    /// A problem of an object that was read, at the field's line.
    #[must_use]
    pub fn problem(&self, kind: &str, name: &str, field: &str, reason: String) -> Problem {
        let place = self.places.get(&format!("{kind}/{name}"));
        Problem {
            file: place.map_or_else(PathBuf::new, |(file, _)| file.clone()),
            line: place.map_or(1, |(_, document)| document.line_of(field)),
            field: field.to_owned(),
            reason,
        }
    }
}

/// Reads files, folders (their `*.yaml`, `*.yml` and `*.json`, not below) and `-` for the standard
/// input.
///
/// # Errors
/// When a path cannot be read at all, or no object is in it.
pub fn load(paths: &[PathBuf], now: Timestamp) -> Result<Loaded, Error> {
    let files = expand(paths)?;
    let mut loaded = Loaded::empty(now);
    let mut left = TOTAL;
    for file in files {
        let octets = read(&file, left)?;
        left = left.saturating_sub(octets.len() as u64);
        match String::from_utf8(octets) {
            Ok(text) => read_documents(&mut loaded, &file, &text),
            Err(error) => {
                loaded
                    .problems
                    .push(not_utf8(&file, error.as_bytes(), &error.utf8_error()))
            }
        }
    }
    if loaded.documents == 0 && loaded.problems.is_empty() {
        return Err(Error::Usage(format!(
            "{}: no object in it: one has apiVersion, kind and metadata.name",
            list(paths)
        )));
    }
    imply_namespaces(&mut loaded.world);
    Ok(loaded)
}

/// The files that the paths mean, in the order of their names.
///
/// # Errors
/// When a path does not exist, a folder cannot be read, or has no such file.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let fail = |e: std::io::Error| Error::failed(&path.display().to_string(), e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(fail)? {
            let file = entry.map_err(fail)?.path();
            if file.is_file() && is_object_file(&file) {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(Error::Usage(format!(
                "{}: no *.yaml, *.yml or *.json in this folder (those below it are not read)",
                path.display()
            )));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn is_object_file(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ["yaml", "yml", "json"].contains(&ending))
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    names.join(", ")
}

/// YAML may be UTF-16, too, but Kubernetes reads UTF-8 only, and so do we.
fn not_utf8(file: &Path, octets: &[u8], error: &std::str::Utf8Error) -> Problem {
    let before = octets.get(..error.valid_up_to()).unwrap_or_default();
    let wrong = octets.get(error.valid_up_to()).copied().unwrap_or_default();
    Problem {
        file: file.to_owned(),
        line: 1 + before.iter().filter(|octet| **octet == b'\n').count() as u64,
        field: String::new(),
        reason: format!("not UTF-8 (octet 0x{wrong:02x}): save the file as UTF-8"),
    }
}

fn read(file: &Path, at_most: u64) -> Result<Vec<u8>, Error> {
    let fail = |e: std::io::Error| Error::failed(&file.display().to_string(), e);
    let mut text = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(at_most + 1)
            .read_to_end(&mut text)
    } else {
        std::fs::File::open(file)
            .map_err(fail)?
            .take(at_most + 1)
            .read_to_end(&mut text)
    };
    match read {
        Err(error) => Err(fail(error)),
        Ok(octets) if octets as u64 > at_most => Err(Error::Usage(format!(
            "{}: the files hold more than 256 MiB",
            file.display()
        ))),
        Ok(_) => Ok(text),
    }
}

fn read_documents(loaded: &mut Loaded, file: &Path, text: &str) {
    let problem = |line: u64, field: &str, reason: String| Problem {
        file: file.to_owned(),
        line,
        field: field.to_owned(),
        reason,
    };
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let reason = format!("not YAML: {}", error.reason);
            loaded
                .problems
                .push(problem(error.line.unwrap_or(1), "", reason));
            return;
        }
    };
    for document in documents.into_iter().flat_map(items) {
        loaded.documents += 1;
        let wrong = faults(&document.value);
        if !wrong.is_empty() {
            loaded.problems.extend(
                wrong
                    .into_iter()
                    .map(|e| problem(document.line_of(&e.path), &e.path, e.message)),
            );
            continue;
        }
        match loaded.world.insert(document.value.clone()) {
            Ok(Inserted::Taken { kind, key }) => {
                loaded
                    .places
                    .insert(format!("{kind}/{key}"), (file.to_owned(), document));
            }
            Ok(Inserted::Ignored) => {}
            Err(error) => {
                let first = match &error {
                    DocumentError::Duplicate { kind, key } => {
                        loaded.places.get(&format!("{kind}/{key}"))
                    }
                    _ => None,
                };
                let first = first.map_or_else(String::new, |(file, document)| {
                    format!(" (the first: {}:{})", file.display(), document.line_of(""))
                });
                let reason = format!("{error}{first}");
                loaded
                    .problems
                    .push(problem(document.line_of(""), "", reason));
            }
        }
    }
}

/// The objects of a `List`, as `kubectl get -o yaml` prints them; any other object alone.
fn items(document: Document) -> Vec<Document> {
    let Document { value, lines } = document;
    let is_list = value
        .get("apiVersion")
        .is_some_and(|version| version == "v1")
        && value.get("kind").is_some_and(|kind| kind == "List");
    let (true, Some(Value::Array(items))) = (is_list, value.get("items")) else {
        return vec![Document { value, lines }];
    };
    let item = |(index, value): (usize, &Value)| {
        let path = format!("items[{index}]");
        let below = |(field, line): (&String, &u64)| {
            let field = field.strip_prefix(&path)?;
            Some((field.trim_start_matches('.').to_owned(), *line))
        };
        Document {
            value: value.clone(),
            // Ordered: the fields of an item stand together.
            lines: lines.range(path.clone()..).map_while(below).collect(),
        }
    };
    items.iter().enumerate().map(item).collect()
}

/// What the API server would refuse in an object of one of our kinds; nothing in any other.
fn faults(object: &Value) -> Vec<FieldError> {
    fn of<K: Kind>(object: &Value) -> Vec<FieldError> {
        schema::parse::<K>(object).err().unwrap_or_default()
    }
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let ours = format!("{}/{}", postern_crds::GROUP, postern_crds::VERSION);
    match text("apiVersion").split_once('/') {
        Some((postern_crds::GROUP, postern_crds::VERSION)) => {}
        Some((postern_crds::GROUP, _)) => {
            let known = format!("{:?} is not known: write {ours}", text("apiVersion"));
            return vec![FieldError::new("apiVersion", known)];
        }
        _ => return Vec::new(),
    }
    match text("kind") {
        "MailGateway" => of::<MailGateway>(object),
        "MailRoute" => of::<MailRoute>(object),
        "MailPolicy" => of::<MailPolicy>(object),
        other => vec![FieldError::new(
            "kind",
            format!("{other:?} is no kind of postern.dev: MailGateway, MailRoute or MailPolicy"),
        )],
    }
}

/// In a cluster every object's namespace exists; files need not say so.
fn imply_namespaces(world: &mut World) {
    let namespaces: Vec<String> = world
        .gateways
        .keys()
        .chain(world.routes.keys())
        .chain(world.policies.keys())
        .map(|key| key.namespace.clone())
        .collect();
    for namespace in namespaces {
        world.namespaces.entry(namespace).or_default();
    }
}
