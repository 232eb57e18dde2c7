//! `/configz`: what a gateway process says about the snapshot that it runs.
//!
//! The gateway serves it as JSON on its admin port, the operator asks for it and writes status
//! from it. It holds no configured value and no secret, and every list in it is bounded.
//! Unknown fields are ignored and absent ones have a default, because operator and pods are
//! updated one after the other.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The path on the admin port.
pub const PATH: &str = "/configz";
/// Backends listed in [`Configz::backends`] at most; the first by id.
pub const MAX_BACKENDS: usize = 256;
/// Octets of [`Rejected::reason`] at most.
pub const MAX_REASON: usize = 1024;

/// The answer of `GET /configz`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configz {
    /// The snapshot in use, as `hash`, `generation` and `appliedAt`; absent before the first.
    #[serde(flatten)]
    pub applied: Option<Applied>,
    /// The last snapshot that was refused, until a later one is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    /// For each backend whose last reply showed that we are misconfigured, by its id in
    /// [`crate::Config::backends`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<String, Misconfiguration>,
}

/// The snapshot that is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// [`crate::Snapshot::hash`].
    pub hash: String,
    /// [`crate::head::Head::generation`] of the head that named it.
    pub generation: u64,
    /// When it was swapped in, RFC 3339.
    pub applied_at: String,
}

/// A snapshot that was refused; the one before it is still in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// The hash that the head named; empty when the head itself could not be read.
    pub hash: String,
    /// The head's generation; 0 when the head itself could not be read.
    #[serde(default)]
    pub generation: u64,
    /// Why, for people, at most [`MAX_REASON`] octets.
    pub reason: String,
}

/// A reply of a backend that says that the gateway's configuration is wrong: 5xx before RCPT, or
/// 5.7.x at RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Misconfiguration {
    /// The reply code with its enhanced code when it had one: `550 5.7.1`.
    pub code: String,
    /// When it was last seen, RFC 3339.
    pub at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applied_snapshot_stands_flat_in_the_json() {
        let configz = Configz {
            applied: Some(Applied {
                hash: "9f2c".into(),
                generation: 7,
                applied_at: "2026-01-02T03:04:05Z".into(),
            }),
            ..Configz::default()
        };
        let json = serde_json::to_value(&configz).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "hash": "9f2c", "generation": 7, "appliedAt": "2026-01-02T03:04:05Z"
            })
        );
        assert_eq!(serde_json::from_value::<Configz>(json).unwrap(), configz);
    }

    #[test]
    fn a_newer_pod_and_one_without_a_snapshot_are_understood() {
        let json = r#"{"lockouts": {"a": 1}, "rejected": {"hash": "x", "reason": "schema 2"}}"#;
        let configz: Configz = serde_json::from_str(json).unwrap();
        assert_eq!(configz.applied, None);
        assert_eq!(configz.rejected.unwrap().reason, "schema 2");
    }
}
