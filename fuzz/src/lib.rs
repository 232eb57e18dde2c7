//! What the targets share: how an input is taken apart, and a session with a gateway that answers.

pub mod input;
pub mod lenient;
pub mod session;

// Its own file and nothing else: the gateway's runtime, Kubernetes and telemetry included, need not
// be built for it.
#[path = "../../gateway/src/server/proxy.rs"]
pub mod proxy;
