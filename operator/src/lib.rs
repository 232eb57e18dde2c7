//! The operator: reconciles custom resources into gateways.
//!
//! Data goes one way: `observe` watches the cluster and builds a [`world::World`];
//! [`translate`](translate::translate), which is pure, makes a [`translation::Translation`] of it;
//! `apply` writes snapshots and manifests; `report` asks the pods what they run and writes
//! statuses. `reconcile` is the loop around the four, and `lease` decides which replica runs it.

pub mod apply;
pub mod generate;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod options;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod translate;
pub mod translation;
pub mod world;
