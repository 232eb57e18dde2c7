//! Any octets as a client's: every reply is a reply, nothing depends on how the octets are cut, and
//! what is taken for an address is one for the next server, too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_fuzz::input::{front, pieces};
use postern_fuzz::session::{assert_replies, play};
use postern_smtp::address::Mailbox;
use postern_smtp::server::BareNewlines;

fuzz_target!(|input: &[u8]| {
    let ([mode, sizes @ ..], octets) = front::<5>(input);
    let newlines = match mode % 2 {
        0 => BareNewlines::Reject,
        _ => BareNewlines::Normalize,
    };
    let whole = play(&[octets], newlines);
    assert_replies(&whole.sent);
    assert_eq!(play(&pieces(octets, &sizes), newlines), whole);
    if let Ok(mailbox) = String::from_utf8_lossy(octets).parse::<Mailbox>() {
        let written = mailbox.to_string();
        assert_eq!(written.parse(), Ok(mailbox), "{written}");
    }
});
