//! Both identities of a transaction (RFC 7208 §2.3, §2.4): HELO and MAIL FROM.

use super::{Identity, Outcome, Request, check_host};
use crate::resolve::Resolve;

/// What SPF says of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    /// MAIL FROM; for the null reverse-path `postmaster@` and the HELO name (§2.4). DMARC and policy
    /// go by this one.
    pub mail_from: Outcome,
    /// HELO, checked on its own (§2.3).
    pub helo: Outcome,
}

/// Checks both, at the same time. `request` is that for MAIL FROM ([`Request::mail_from`]); each
/// identity asks its own resolver, so that what one of them costs cannot leave the other without
/// an answer.
pub async fn check_identities(
    for_mail_from: &impl Resolve,
    for_helo: &impl Resolve,
    request: &Request,
) -> Identities {
    let helo = Request::helo(
        request.client,
        &request.helo,
        &request.receiver,
        request.now,
    );
    // A null reverse-path, or one that is written out: the arguments of check_host are the same.
    if request.domain == request.helo && request.local_part == "postmaster" {
        let mail_from = check_host(for_mail_from, request).await;
        let helo = Outcome {
            identity: Identity::Helo,
            sender: helo.domain,
            explanation: None,
            ..mail_from.clone()
        };
        return Identities { mail_from, helo };
    }
    let (mail_from, helo) = futures::join!(
        check_host(for_mail_from, request),
        check_host(for_helo, &helo)
    );
    Identities { mail_from, helo }
}
