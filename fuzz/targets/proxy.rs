//! Any octets as a PROXY header: a reader that takes what is asked for never takes an octet of what
//! follows, and what it finds does not depend on what follows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_fuzz::proxy::{Step, parse};

fuzz_target!(|input: &[u8]| {
    let mut read = 0;
    loop {
        let Some(so_far) = input.get(..read) else {
            return;
        };
        match parse(so_far) {
            Ok(Step::Need(more)) => {
                assert!(more > 0);
                read += more;
                assert!(read <= 16 + 4_096, "{read} octets are no header");
            }
            Ok(Step::Done(header)) => {
                // No shorter beginning is a header, none is malformed.
                for shorter in (0..read).filter_map(|end| input.get(..end)) {
                    assert!(matches!(parse(shorter), Ok(Step::Need(_))));
                }
                assert_eq!(parse(so_far), Ok(Step::Done(header)));
                return;
            }
            Err(_) => return,
        }
    }
});
