//! Records
/// A record.
#[derive(Debug)]
pub struct Record;
