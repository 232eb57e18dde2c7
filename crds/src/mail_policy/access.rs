//! Section `access`: who may connect, greet, send and be sent to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::{AddressPattern, Cidr, DomainPattern};

/// Lists of those who are let in and of those who are not. `deny` wins over `allow`; a non-empty
/// `allow` refuses all others. `<postmaster>` passes `senders` and `recipients`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// By the client's address, when it connects. Not on MailRoutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientAccess>,
    /// By the name in HELO or EHLO. Not on MailRoutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helo: Option<HeloAccess>,
    /// By the address in MAIL. Not on MailRoutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub senders: Option<SenderAccess>,
    /// By the address in RCPT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<RecipientAccess>,
}

/// Clients by network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAccess {
    /// Only these, if any are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<Cidr>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub deny: Vec<Cidr>,
}

/// Clients by the name that they give.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeloAccess {
    /// Refuse names that are neither fully qualified nor an address literal. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_fqdn: Option<bool>,
    /// Not these names: `spam.test` itself, `*.spam.test` all below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub deny: Vec<DomainPattern>,
}

/// Senders by reverse-path. The null reverse-path of bounces is never refused here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SenderAccess {
    /// Only these, if any are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<AddressPattern>,
    /// Not these: `user@spam.test` an address, `spam.test` or `*@spam.test` all of a domain,
    /// `*.spam.test` all of every domain below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub deny: Vec<AddressPattern>,
}

/// Recipients by forward-path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecipientAccess {
    /// Not these: `user@acme.test` an address, `acme.test` or `*@acme.test` all of a domain,
    /// `*.acme.test` all of every domain below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub deny: Vec<AddressPattern>,
}
