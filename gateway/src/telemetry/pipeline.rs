//! The sink of a running gateway: sampling, spans, access log.
//!
//! Records of ended transactions and sessions go in; spans to the collector and lines to the
//! access log come out. The collector may change with a snapshot while records flow.

use super::access_log::AccessLog;
use super::collector::ExportError;
use super::export::{Counts, Export};
use super::record::{SessionRecord, Sink, SinkCounts, TransactionRecord};
use super::{resource, sampling, spans};
use arc_swap::ArcSwap;
use opentelemetry_sdk::Resource;
use postern_config::Config;
use postern_config::telemetry::{Recipients, Telemetry, Traces};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sessions of which a transaction was exported, so that its parent is, too. Each leaves with its
/// session; the bound only guards against sessions that never end.
const OPEN_SESSIONS: usize = 65_536;

/// The end of the process waits no longer for the collector.
pub const FLUSH: Duration = Duration::from_secs(5);

/// Sampling, export and access log of one gateway process.
#[derive(Debug)]
pub struct Pipeline {
    access_log: Option<AccessLog>,
    current: ArcSwap<Current>,
    exported_sessions: Mutex<HashSet<u64>>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Current {
    settings: Telemetry,
    /// Whose spans they are.
    resource: Resource,
    export: Option<Export>,
}

impl Pipeline {
    /// A pipeline that exports nothing until [`Pipeline::apply`] names a collector.
    #[must_use]
    pub fn new(access_log: Option<AccessLog>) -> Self {
        let settings = Telemetry {
            traces: None,
            metrics: None,
            recipients: Recipients::Domain,
        };
        Self {
            access_log,
            current: ArcSwap::from_pointee(Current {
                settings,
                resource: Resource::builder_empty().build(),
                export: None,
            }),
            exported_sessions: Mutex::default(),
            counts: Arc::default(),
        }
    }

    /// Takes over a snapshot's telemetry settings; the connection to the collector is kept when
    /// they did not change. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the endpoint cannot be used; the settings stay as they were then.
    pub fn apply(&self, config: &Config) -> Result<(), ExportError> {
        let old = self.current.load();
        let resource = resource::resource(config);
        let same_resource = old.resource == resource;
        if same_resource && old.settings == config.telemetry {
            return Ok(());
        }
        let export = match &config.telemetry.traces {
            None => None,
            same if same_resource && *same == old.settings.traces => old.export.clone(),
            Some(traces) => Some(Export::start(traces, &resource, Arc::clone(&self.counts))?),
        };
        self.current.store(Arc::new(Current {
            settings: config.telemetry.clone(),
            resource,
            export,
        }));
        Ok(())
    }

    /// Waits until the spans of all ended transactions were sent or given up, at most 5 s: a
    /// collector that hangs must not hold up the end of a pod.
    pub async fn flush(&self) {
        let export = self.current.load().export.clone();
        if let Some(export) = export {
            // What is not sent by then is lost, as with any collector that is too slow.
            let _ = tokio::time::timeout(FLUSH, export.flush()).await;
        }
    }

    fn remember(&self, session: u64) {
        let mut sessions = self
            .exported_sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if sessions.len() < OPEN_SESSIONS {
            sessions.insert(session);
        }
    }

    fn forget(&self, session: u64) -> bool {
        self.exported_sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&session)
    }
}

impl Sink for Pipeline {
    fn apply(&self, config: &Config) -> Result<(), String> {
        Self::apply(self, config).map_err(|error| error.to_string())
    }

    fn counts(&self) -> SinkCounts {
        let log = self.access_log.as_ref();
        SinkCounts {
            spans_exported: self.counts.exported.load(Ordering::Relaxed),
            spans_dropped: self.counts.dropped.load(Ordering::Relaxed),
            log_lines_dropped: log.map_or(0, AccessLog::dropped),
        }
    }

    fn transaction(&self, record: TransactionRecord) {
        let current = self.current.load();
        if let Some(log) = &self.access_log {
            log.write(&record, current.settings.recipients);
        }
        let Some((export, traces)) = export_of(&current) else {
            return;
        };
        if sampling::exports(&record, traces) {
            self.remember(record.session.ids.span_id);
            export.send(spans::of_transaction(&record, current.settings.recipients));
        }
    }

    fn session(&self, record: SessionRecord) {
        // First of all: the set must forget the session, exported or not.
        let has_children = self.forget(record.facts.ids.span_id);
        let current = self.current.load();
        let Some((export, traces)) = export_of(&current) else {
            return;
        };
        if has_children || sampling::in_ratio(record.facts.ids.trace_id, traces.sample_ratio) {
            export.send(spans::of_session(&record));
        }
    }
}

fn export_of(current: &Current) -> Option<(&Export, &Traces)> {
    Some((current.export.as_ref()?, current.settings.traces.as_ref()?))
}
