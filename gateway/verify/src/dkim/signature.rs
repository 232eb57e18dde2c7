//! x
/// A signature.
#[derive(Debug)]
pub struct Signature;
/// Why not.
#[derive(Debug)]
pub struct SignatureProblem;
