//! Any octets as a message: the fields stand one behind the other, the body behind them, and
//! everything that reads the header gets along with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_verify::arc::Chain;
use postern_verify::authentication_results::strip_own;
use postern_verify::dkim::{Options, Signatures};
use postern_verify::{BodyHashes, Message, from};

const OURS: &str = "mx.example.com";

fuzz_target!(|input: &[u8]| {
    let Ok(message) = Message::parse(input) else {
        return;
    };
    let mut at = 0;
    for field in message.fields() {
        assert_eq!(field.start, at);
        assert!(field.end > at);
        assert!(input[field.range()].ends_with(field.value));
        at = field.end;
    }
    assert!((at..=at + 2).contains(&message.body_offset()));
    assert_eq!(message.body(), &input[message.body_offset()..]);

    let author = from::author(&message);
    let signatures = Signatures::parse(&message, author.domain(), &Options::new(1_700_000_000));
    let chain = Chain::parse(&message);
    let keys = signatures.body_keys().chain(chain.body_keys());
    let _ = BodyHashes::compute(message.body(), keys);
    without_ours(&message);
});

/// What claims to be ours is gone once it is taken out.
fn without_ours(message: &Message<'_>) {
    let mut left = Vec::new();
    let mut at = 0;
    for range in strip_own(message, OURS) {
        left.extend_from_slice(&message.raw()[at..range.start]);
        at = range.end;
    }
    left.extend_from_slice(&message.raw()[at..]);
    let again = Message::parse(&left).expect("what is left is a message");
    assert!(strip_own(&again, OURS).is_empty());
}
