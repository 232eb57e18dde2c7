//! Strings of the API that have a grammar, parsed: durations, sizes, networks, names, addresses.
//!
//! Each type parses with [`FromStr`](std::str::FromStr) into the form that its users compare and
//! compute with, prints its canonical text, and carries the JSON schema (pattern and length) by
//! which an API server refuses what the parser refuses. Errors are sentences that say what was
//! expected.

mod address;
mod duration;
mod name;
mod network;
mod quantity;

pub use address::{AddressPattern, EmailAddress};
pub use duration::GoDuration;
pub use name::{DomainName, DomainPattern, HeaderName, HeaderValue};
pub use network::{Cidr, Host, Nameserver};
pub use quantity::Quantity;

/// A text that does not follow the grammar of its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ScalarError {
    text: String,
    expected: &'static str,
}

impl ScalarError {
    /// `text` as it was written; `expected` completes the sentence "... is not".
    fn new(text: &str, expected: &'static str) -> Self {
        // A hostile text must not become a hostile error: 80 characters are enough to find it.
        Self {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}

/// The key under which a schema names the scalar that it belongs to. An API server never sees it;
/// [`crate::schema`] parses by it what else it would only compare with a pattern.
pub(crate) const SCALAR: &str = "x-postern-scalar";

/// Parses `text` as the scalar of the given name, for its error alone. A name that is not a
/// scalar's has no grammar.
pub(crate) fn check(scalar: &str, text: &str) -> Result<(), ScalarError> {
    match scalar {
        "AddressPattern" => text.parse::<AddressPattern>().map(drop),
        "Cidr" => text.parse::<Cidr>().map(drop),
        "DomainName" => text.parse::<DomainName>().map(drop),
        "DomainPattern" => text.parse::<DomainPattern>().map(drop),
        "EmailAddress" => text.parse::<EmailAddress>().map(drop),
        "GoDuration" => text.parse::<GoDuration>().map(drop),
        "HeaderName" => text.parse::<HeaderName>().map(drop),
        "HeaderValue" => text.parse::<HeaderValue>().map(drop),
        "Host" => text.parse::<Host>().map(drop),
        "Nameserver" => text.parse::<Nameserver>().map(drop),
        "Quantity" => text.parse::<Quantity>().map(drop),
        _ => Ok(()),
    }
}

/// Serde and schema for a scalar that is a string on the wire and has `FromStr` and `Display`.
macro_rules! string_scalar {
    ($type:ident, max_length: $max:expr, pattern: $pattern:expr) => {
        string_scalar!($type, max_length: $max, pattern: $pattern, rules: []);
    };
    ($type:ident, max_length: $max:expr, pattern: $pattern:expr, rules: $rules:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let rules: Vec<kube::core::Rule> = $rules.into();
                let mut schema = schemars::json_schema!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": $max,
                    "pattern": $pattern,
                    $crate::scalar::SCALAR: stringify!($type),
                });
                if !rules.is_empty() {
                    schema.insert("x-kubernetes-validations".into(), serde_json::json!(rules));
                }
                schema
            }
        }
    };
}
use string_scalar;

#[cfg(test)]
mod tests;
