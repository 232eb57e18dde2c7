//! What relates the fields of a spec to each other, said in Rust.
//!
//! The twins of the CEL rules that stand beside the types: whoever reads objects from files, or
//! from an API server that took them before a rule existed, gets the same answers. In goes a typed
//! spec; out come all faults by field path, with the messages of the rules.
//! `tests/objects.rs` holds both to one table.

mod mail_gateway;
mod mail_policy;
mod mail_route;

pub use mail_gateway::{mail_gateway, mail_gateway_update};
pub use mail_policy::mail_policy;
pub use mail_route::mail_route;

use std::time::Duration;

use crate::scalar::{GoDuration, Quantity};
pub use crate::schema::FieldError;

/// Faults, as they are found.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    /// There is a fault unless `holds`.
    fn require(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.0.push(FieldError::new(path, message));
        }
    }

    /// The twin of `cel::duration_between`.
    fn duration(&mut self, path: &str, value: Option<GoDuration>, (min, max): (&str, &str)) {
        let Some(value) = value else { return };
        let bound = |text: &str| text.parse().map_or(Duration::ZERO, GoDuration::get);
        let inside = (bound(min)..=bound(max)).contains(&value.get());
        self.require(inside, path, format!("must be between {min} and {max}"));
    }

    /// The twin of `cel::size_between`.
    fn size(&mut self, path: &str, value: Option<Quantity>, (min, max): (&str, &str)) {
        let Some(value) = value else { return };
        let bound = |text: &str| text.parse().map_or(0, Quantity::bytes);
        let inside = (bound(min)..=bound(max)).contains(&value.bytes());
        self.require(inside, path, format!("must be between {min} and {max}"));
    }

    fn finish(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.0)
        }
    }
}

/// Whether all items differ.
fn distinct<T: PartialEq>(items: &[T]) -> bool {
    items
        .iter()
        .enumerate()
        .all(|(i, item)| !items.iter().skip(i + 1).any(|other| other == item))
}
