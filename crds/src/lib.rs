//! The Kubernetes API of Postern: group `postern.dev`, version `v1alpha1`.
//!
//! In goes nothing but objects as users write them, from an API server or from files; out come
//! typed specs and statuses, the CustomResourceDefinitions that an API server enforces, and, for
//! those who have no API server, the same judgement in Rust ([`schema`] and [`validate`]). The
//! descriptions on the fields are the API reference: they reach users through `kubectl explain`.
//!
//! Every `Option` that is unset means the default that its description names; the numbers stand
//! in [`defaults`]. Nothing here knows what a gateway makes of an object: that is `translate`.

#![allow(
    clippy::duplicated_attributes,
    reason = "the lint takes the `type_` of two printcolumns for one attribute given twice"
)]

mod cel;
pub mod common;
pub mod defaults;
mod generate;
pub mod mail_gateway;
pub mod mail_policy;
pub mod mail_route;
pub mod scalar;
pub mod schema;
pub mod status;
pub mod validate;

pub use generate::{crds, yaml};
pub use mail_gateway::{MailGateway, MailGatewaySpec, MailGatewayStatus};
pub use mail_policy::{MailPolicy, MailPolicySpec, MailPolicyStatus};
pub use mail_route::{MailRoute, MailRouteSpec, MailRouteStatus};

/// The API group of all kinds.
pub const GROUP: &str = "postern.dev";

/// The API version of all kinds.
pub const VERSION: &str = "v1alpha1";

/// Prefix of every `controllerName` in a status: `postern.dev/<className>`.
pub const CONTROLLER_NAME_PREFIX: &str = "postern.dev/";

/// The port on which a gateway pod serves `/configz`, `/livez`, `/readyz` and `/metrics`. No
/// listener may use it.
pub const ADMIN_PORT: u16 = 9090;

/// Listener ports below this one cannot be bound without privilege and are served at
/// [`POD_PORT_OFFSET`] more in pods.
pub const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// What is added to a listener port below [`FIRST_UNPRIVILEGED_PORT`] in pods.
pub const POD_PORT_OFFSET: u16 = 10_000;

/// The port on which a pod serves a listener of the given port: the Service maps one to the other.
#[must_use]
pub const fn pod_port(port: u16) -> u16 {
    if port < FIRST_UNPRIVILEGED_PORT {
        port + POD_PORT_OFFSET
    } else {
        port
    }
}
