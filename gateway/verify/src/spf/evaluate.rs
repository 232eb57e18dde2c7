//! check_host
use super::*;
use crate::resolve::Resolve;
/// Evaluates (RFC 7208 §4).
pub async fn check_host(resolver: &impl Resolve, request: &Request) -> Outcome {
    let _ = resolver;
    Outcome { result: SpfResult::None, identity: request.identity, sender: String::new(), domain: None, mechanism: None, explanation: None, problem: None, lookups: 0, void_lookups: 0 }
}
