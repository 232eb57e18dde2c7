//! What backends said of recipients lately.
//!
//! The key is all that a backend may look at: the backend, with a PROXY header the client and where
//! it connected to, the reverse-path, the recipient. A refusal for one sender must not become
//! another sender's bounce. Nor one for a message that was declared to be large: only what is about
//! the address is kept of refusals.

use super::limits::Limits;
use super::remembered::Remembered;
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::reply::Refusal;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// The answers of all backends.
pub(super) struct Answers(Mutex<Remembered<Arc<str>, Answer>>);

type Answer = Result<(), Refusal>;

impl Answers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Mutex::new(Remembered::new(limits.answers)))
    }

    /// What is known.
    pub(super) fn get(&self, key: &str) -> Option<Answer> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key, Instant::now()).cloned()
    }

    /// Takes a fresh answer in place of what was known: a yes is kept 5 minutes, 5yz 30 seconds,
    /// 4yz never, and 5yz that may depend on SIZE, BODY or SMTPUTF8 neither.
    pub(super) fn replace(&self, key: String, answer: &Answer, limits: &Limits) {
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let life = match answer {
            Ok(()) => limits.yes,
            Err(refusal @ Refusal::Permanent(_)) if is_about_address(refusal) => limits.no,
            Err(_) => {
                answers.remove(key.as_str());
                return;
            }
        };
        answers.insert(key.into(), answer.clone(), now, now + life);
    }
}

/// RFC 3463 §3.2: X.1.z reports on an address, not on the message or on who sends it.
fn is_about_address(refusal: &Refusal) -> bool {
    let (_, subject, _) = refusal.enhanced();
    subject == 1
}

/// The key of an answer. `ends`: the client and the listener's address, where the backend is told
/// of them.
pub(super) fn key(
    backend: &str,
    ends: Option<(IpAddr, SocketAddr)>,
    reverse_path: &ReversePath,
    recipient: &Mailbox,
) -> String {
    let mut key = String::with_capacity(128);
    // Writing to a String cannot fail. LF occurs in none of them.
    let _ = write!(key, "{backend}\n{reverse_path}\n{recipient}");
    if let Some((client, listener)) = ends {
        let _ = write!(key, "\n{client}\n{listener}");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_smtp::reply::{Enhanced, PermanentCode, TransientCode};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn yes_is_kept_5_minutes_5xx_at_most_30_seconds_4xx_never() {
        let limits = Limits::default();
        let answers = Answers::new(&limits);
        let no = Err(Refusal::permanent(
            PermanentCode::MailboxUnavailable,
            Enhanced(1, 1),
            "no",
        ));
        let later = Err(Refusal::transient(
            TransientCode::MailboxUnavailable,
            Enhanced(2, 1),
            "later",
        ));
        answers.replace("yes".into(), &Ok(()), &limits);
        answers.replace("no".into(), &no, &limits);
        answers.replace("later".into(), &later, &limits);
        assert_eq!(answers.get("yes"), Some(Ok(())));
        assert_eq!(answers.get("no"), Some(no.clone()));
        assert_eq!(answers.get("later"), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(
            (answers.get("yes"), answers.get("no")),
            (Some(Ok(())), None)
        );
        tokio::time::advance(Duration::from_secs(269)).await;
        assert_eq!(answers.get("yes"), Some(Ok(())));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(answers.get("yes"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_5xx_that_may_depend_on_size_or_body_is_never_kept() {
        let limits = Limits::default();
        for enhanced in [
            Enhanced(2, 3),
            Enhanced(3, 4),
            Enhanced(6, 7),
            Enhanced(0, 0),
        ] {
            let answers = Answers::new(&limits);
            answers.replace("a".into(), &Ok(()), &limits);
            let no = Refusal::permanent(PermanentCode::ExceededStorage, enhanced, "too large");
            answers.replace("a".into(), &Err(no), &limits);
            assert_eq!(answers.get("a"), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_4xx_takes_the_place_of_a_cached_yes_at_once() {
        let limits = Limits::default();
        let answers = Answers::new(&limits);
        answers.replace("a".into(), &Ok(()), &limits);
        let later = Err(Refusal::transient(
            TransientCode::MailboxUnavailable,
            Enhanced(2, 1),
            "later",
        ));
        answers.replace("a".into(), &later, &limits);
        assert_eq!(answers.get("a"), None);
    }

    #[test]
    fn the_sender_is_part_of_the_key() {
        let recipient = "a@acme.test".parse().unwrap();
        let joe = ReversePath::Mailbox("joe@client.test".parse().unwrap());
        assert_ne!(
            key("b", None, &joe, &recipient),
            key("b", None, &ReversePath::Null, &recipient)
        );
    }
}
