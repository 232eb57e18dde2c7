//! Listeners, connections and the end of a pod's life.
//!
//! A compiled snapshot goes in; [`Listeners`] opens the sockets that are new before it closes those
//! that are gone, and hands each connection to a session's task of its own.

pub mod budget;
pub mod limits;
pub mod proxy;
pub mod refusals;
pub mod sessions;
pub mod stream;
pub mod tls;

mod listen;

pub(crate) use listen::{BindError, Listeners, advice};

use crate::snapshot::{Environment, State};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::record::Sink;
use budget::Budget;
use refusals::Refusals;
use sessions::Sessions;
use std::sync::Arc;

/// What all sessions of a process share.
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) environment: Environment,
    pub(crate) sessions: Sessions,
    pub(crate) budget: Budget,
    pub(crate) metrics: Metrics,
    pub(crate) refusals: Refusals,
    pub(crate) sink: Arc<dyn Sink>,
}
