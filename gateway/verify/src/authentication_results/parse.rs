//! x
use crate::Message;
use std::ops::Range;
/// A field that was read.
#[derive(Debug, Clone)]
pub struct Parsed;
/// One of its results.
#[derive(Debug, Clone)]
pub struct ParsedMethod;
/// Reads the value of a field.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Parsed> {
    let _ = value;
    None
}
/// Where in the message the fields stand that claim our own id and must be removed.
#[must_use]
pub fn strip_own(message: &Message<'_>, authserv_id: &str) -> Vec<Range<usize>> {
    let _ = (message, authserv_id);
    vec![]
}
