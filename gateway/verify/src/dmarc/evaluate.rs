//! x
use super::*;
use crate::Resolve;
/// Evaluates.
pub async fn evaluate(resolver: &impl Resolve, input: &Input<'_>) -> Outcome {
    let _ = resolver;
    Outcome {
        result: DmarcResult::None,
        from: input.from.clone(),
        organizational_domain: None,
        published: None,
        policy: Policy::None,
        applied: Policy::None,
        spf_aligned: false,
        dkim_aligned: None,
        undecided: false,
        queries: 0,
        problem: None,
    }
}
