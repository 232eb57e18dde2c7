//! A real trace store: Jaeger all-in-one, which takes OTLP and answers queries.
//!
//! In: spans by OTLP, gRPC or HTTP. Out: a [`Trace`] by its id, as a tree of [`Span`]s.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::folder::Folder;
use crate::http;
use crate::ports::free_port;
use crate::program::Program;
use crate::tools;
use crate::wait::{eventually, within};

const START: Duration = Duration::from_secs(60);
/// Spans are exported in batches, 5 s apart by OpenTelemetry's default.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A running Jaeger with its spans in memory. Dropping it stops it.
pub struct Jaeger {
    otlp_grpc: u16,
    otlp_http: u16,
    query: u16,
    program: Program,
    _folder: Folder,
}

impl Jaeger {
    /// Starts Jaeger on free ports of 127.0.0.1 and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed or is not ready after 60 s.
    pub async fn start() -> Self {
        Self::start_on(free_port(), free_port()).await
    }

    /// Starts Jaeger with these OTLP ports, for one that comes back after it was killed.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_on(otlp_grpc: u16, otlp_http: u16) -> Self {
        let folder = Folder::new("jaeger");
        let query = free_port();
        let admin = free_port();
        let mut command = Command::new(tools::find("jaeger"));
        for (flag, port) in [
            ("collector.otlp.grpc.host-port", otlp_grpc),
            ("collector.otlp.http.host-port", otlp_http),
            ("query.http-server.host-port", query),
            ("admin.http.host-port", admin),
            ("query.grpc-server.host-port", free_port()),
            ("collector.grpc-server.host-port", free_port()),
            ("collector.http-server.host-port", free_port()),
            ("http-server.host-port", free_port()),
            ("processor.jaeger-binary.server-host-port", free_port()),
            ("processor.jaeger-compact.server-host-port", free_port()),
            ("processor.zipkin-compact.server-host-port", free_port()),
        ] {
            command.arg(format!("--{flag}=127.0.0.1:{port}"));
        }
        command.args(["--memory.max-traces=20000", "--log-level=warn"]);
        let program = Program::start("jaeger", &command, folder.path());
        let health = format!("http://127.0.0.1:{admin}/");
        let services = format!("http://127.0.0.1:{query}/api/services");
        let started = within(START, async || {
            http::get_json(&health).await?;
            http::get_json(&services).await
        });
        if let Err(reason) = started.await {
            panic!("Jaeger is not ready: {reason}\n{}", program.last_output(15));
        }
        Self {
            otlp_grpc,
            otlp_http,
            query,
            program,
            _folder: folder,
        }
    }

    /// Where spans go by OTLP over gRPC: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn otlp_grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.otlp_grpc)
    }

    /// Where spans go by OTLP over HTTP, without the path `/v1/traces`.
    #[must_use]
    pub fn otlp_http(&self) -> String {
        format!("http://127.0.0.1:{}", self.otlp_http)
    }

    /// Where queries go: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn query(&self) -> String {
        format!("http://127.0.0.1:{}", self.query)
    }

    /// The process, to be killed, suspended or resumed.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The trace with this id (32 hex digits), as far as it has come, or that there is none.
    ///
    /// # Errors
    /// When Jaeger does not answer or does not know the trace.
    pub async fn trace(&self, id: &str) -> Result<Trace, String> {
        let answer = http::get_json(&format!("{}/api/traces/{id}", self.query())).await?;
        let trace = answer["data"]
            .get(0)
            .ok_or_else(|| format!("no trace {id}: {answer}"))?;
        Ok(Trace::read(trace))
    }

    /// The trace with this id once it has a span with each of these names.
    ///
    /// # Panics
    /// When it has not after 30 s; the message shows what has come.
    pub async fn trace_with(&self, id: &str, names: &[&str]) -> Trace {
        eventually(ARRIVAL, async || {
            let trace = self.trace(id).await?;
            match names.iter().find(|name| trace.spans(name).is_empty()) {
                None => Ok(trace),
                Some(name) => Err(format!("no span {name} in trace {id}:\n{trace}")),
            }
        })
        .await
    }

    /// Up to `limit` of a service's newest traces.
    ///
    /// # Errors
    /// When Jaeger does not answer.
    pub async fn traces_of(&self, service: &str, limit: usize) -> Result<Vec<Trace>, String> {
        let query = format!(
            "{}/api/traces?service={service}&limit={limit}",
            self.query()
        );
        let answer = http::get_json(&query).await?;
        Ok(answer["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Trace::read)
            .collect())
    }
}

/// The spans of one trace, by their start.
#[derive(Clone, Debug)]
pub struct Trace {
    /// 32 hex digits.
    pub id: String,
    /// All spans that Jaeger has, earliest first.
    pub all: Vec<Span>,
}

/// One span, as Jaeger gives it back.
#[derive(Clone, Debug)]
pub struct Span {
    /// 16 hex digits.
    pub id: String,
    /// The parent's id; the parent may be missing from the trace.
    pub parent: Option<String>,
    /// The trace and span ids of its other references: OpenTelemetry's links.
    pub links: Vec<(String, String)>,
    /// The operation: `smtp.session`.
    pub name: String,
    /// When it began, in microseconds since 1970.
    pub start: u64,
    /// In microseconds.
    pub duration: u64,
    /// Its attributes, and what OTLP's kind and status become: `span.kind`,
    /// `otel.status_code`, `error`.
    pub attributes: BTreeMap<String, Value>,
    /// The resource's attributes, `service.name` among them.
    pub resource: BTreeMap<String, Value>,
}

impl Trace {
    fn read(trace: &Value) -> Self {
        let mut all: Vec<Span> = each(&trace["spans"])
            .map(|span| Span::read(span, &trace["processes"]))
            .collect();
        all.sort_by_key(|span| (span.start, std::cmp::Reverse(span.duration)));
        Self {
            id: text(&trace["traceID"]),
            all,
        }
    }

    /// All spans with this name.
    #[must_use]
    pub fn spans(&self, name: &str) -> Vec<&Span> {
        self.all.iter().filter(|span| span.name == name).collect()
    }

    /// The one span with this name.
    ///
    /// # Panics
    /// When there is none or there are several; the message shows the trace.
    #[must_use]
    #[track_caller]
    pub fn span(&self, name: &str) -> &Span {
        match self.spans(name)[..] {
            [span] => span,
            ref several => panic!("{} spans are called {name}:\n{self}", several.len()),
        }
    }

    /// The span's children, earliest first.
    #[must_use]
    pub fn children(&self, of: &Span) -> Vec<&Span> {
        self.all
            .iter()
            .filter(|span| span.parent.as_deref() == Some(&of.id))
            .collect()
    }

    /// The spans whose parent is not in the trace.
    #[must_use]
    pub fn roots(&self) -> Vec<&Span> {
        let known = |id: &String| self.all.iter().any(|span| span.id == *id);
        self.all
            .iter()
            .filter(|span| !span.parent.as_ref().is_some_and(known))
            .collect()
    }

    fn write_tree(&self, span: &Span, depth: usize, out: &mut String) -> fmt::Result {
        let indent = "  ".repeat(depth);
        writeln!(out, "{indent}{} ({} us)", span.name, span.duration)?;
        self.children(span)
            .iter()
            .try_for_each(|child| self.write_tree(child, depth + 1, out))
    }
}

/// The tree, one span a line, indented by its depth.
impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.roots()
            .iter()
            .try_for_each(|root| self.write_tree(root, 0, &mut out))?;
        formatter.write_str(&out)
    }
}

impl Span {
    fn read(span: &Value, processes: &Value) -> Self {
        let ids = |reference: &Value| (text(&reference["traceID"]), text(&reference["spanID"]));
        let (parents, links): (Vec<_>, Vec<_>) =
            each(&span["references"]).partition(|each| each["refType"] == "CHILD_OF");
        let process = &processes[span["processID"].as_str().unwrap_or_default()];
        let mut resource = attributes(&process["tags"]);
        resource.insert("service.name".to_owned(), process["serviceName"].clone());
        Self {
            id: text(&span["spanID"]),
            parent: parents.first().map(|parent| text(&parent["spanID"])),
            links: links.into_iter().map(ids).collect(),
            name: text(&span["operationName"]),
            start: span["startTime"].as_u64().unwrap_or_default(),
            duration: span["duration"].as_u64().unwrap_or_default(),
            attributes: attributes(&span["tags"]),
            resource,
        }
    }

    /// An attribute as text, whatever its type; empty when it is not there.
    #[must_use]
    pub fn attribute(&self, key: &str) -> String {
        self.attributes.get(key).map(text).unwrap_or_default()
    }
}

/// Jaeger's `[{key, type, value}]`.
fn attributes(tags: &Value) -> BTreeMap<String, Value> {
    each(tags)
        .map(|tag| (text(&tag["key"]), tag["value"].clone()))
        .collect()
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
