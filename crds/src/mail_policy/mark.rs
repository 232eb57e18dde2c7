//! Section `mark`: what is written on accepted mail.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::rule;
use crate::scalar::{HeaderName, HeaderValue};

/// Marks on accepted mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = mark_rules()))]
pub struct Mark {
    /// Header fields that are put on top of the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<MarkHeader>,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = header_rules()))]
pub struct MarkHeader {
    /// The field's name. It must begin with `X-`: fields with a meaning of their own are not marks.
    pub name: HeaderName,
    /// The field's body.
    pub value: HeaderValue,
}

fn mark_rules() -> [Rule; 1] {
    [rule(
        "!has(self.headers) || self.headers.all(a, self.headers.exists_one(b, \
         a.name.lowerAscii() == b.name.lowerAscii()))",
        ".headers",
        "two headers have one name; letters of either case are alike",
    )]
}

fn header_rules() -> [Rule; 1] {
    [rule(
        "self.name.lowerAscii().startsWith('x-') && \
         !self.name.lowerAscii().startsWith('x-postern-')",
        ".name",
        "name must begin with X- and not with X-Postern-",
    )]
}
