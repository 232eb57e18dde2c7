//! Good headers, every malformed form, and that nothing of what follows is taken.

use super::*;
use proptest::prelude::*;

/// Feeds octets as a reader would and returns the header with how many octets it took.
fn read(stream: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let mut taken = 0;
    loop {
        match parse(&stream[..taken])? {
            Step::Done(header) => return Ok(Some((header, taken))),
            Step::Need(more) if taken + more <= stream.len() => taken += more,
            Step::Need(_) => return Ok(None),
        }
    }
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [
        SIGNATURE.as_slice(),
        &[version_command, family],
        &length,
        rest,
    ]
    .concat()
}

const TCP4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0, 25];

#[test]
fn version_1() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\nEHLO x\r\n";
    let expected = proxied("192.0.2.1:56324", "198.51.100.2:25");
    assert_eq!(read(line), Ok(Some((expected, 44))));
    let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 25\r\n";
    let expected = proxied("[2001:db8::1]:56324", "[2001:db8::2]:25");
    assert_eq!(read(line), Ok(Some((expected, line.len()))));
    assert_eq!(
        read(b"PROXY UNKNOWN\r\nEHLO x\r\n"),
        Ok(Some((Header::Socket, 15)))
    );
    let ignored = b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n";
    assert_eq!(read(ignored), Ok(Some((Header::Socket, ignored.len()))));
}

#[test]
fn version_2() {
    let expected = proxied("192.0.2.1:56324", "198.51.100.2:25");
    let plain = v2(0x21, 0x11, TCP4);
    assert_eq!(read(&plain), Ok(Some((expected, plain.len()))));
    let with_tlvs = v2(
        0x21,
        0x11,
        &[TCP4, &[0x03, 0, 4, 1, 2, 3, 4, 0xee]].concat(),
    );
    let stream = [with_tlvs.as_slice(), b"EHLO x\r\n"].concat();
    assert_eq!(read(&stream), Ok(Some((expected, with_tlvs.len()))));
    let mut six = [0_u8; 36];
    (six[15], six[31], six[33], six[35]) = (1, 2, 80, 25);
    assert_eq!(
        read(&v2(0x21, 0x21, &six)).unwrap().unwrap().0,
        proxied("[::1]:80", "[::2]:25")
    );
}

#[test]
fn local_and_unspecified_are_the_sockets_own() {
    assert_eq!(read(&v2(0x20, 0x00, &[])), Ok(Some((Header::Socket, 16))));
    assert_eq!(read(&v2(0x20, 0x11, TCP4)), Ok(Some((Header::Socket, 28))));
    assert_eq!(
        read(&v2(0x21, 0x00, &[1, 2, 3])),
        Ok(Some((Header::Socket, 19)))
    );
}

#[test]
fn malformed_lines() {
    let lines: [&[u8]; 13] = [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\nEHLO x\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25 9\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 56324 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 056324 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +5632 25\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.2 56324 25\r\n",
        b"PROXY TCP4 mail.example 198.51.100.2 56324 25\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 25\r\n",
        b"PROXY TCP4 \xff92.0.2.1 198.51.100.2 56324 25\r\n",
        b"PROXY \r\n\r\n\r\n\r\n\r\n\r\n",
    ];
    for line in lines {
        assert_eq!(read(line), Err(Malformed::Line), "{}", line.escape_ascii());
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    assert_eq!(read(&endless), Err(Malformed::LongLine));
}

#[test]
fn malformed_binary() {
    assert_eq!(read(&v2(0x11, 0x11, TCP4)), Err(Malformed::Command));
    assert_eq!(read(&v2(0x22, 0x11, TCP4)), Err(Malformed::Command));
    assert_eq!(read(&v2(0x21, 0x12, TCP4)), Err(Malformed::Family), "UDP");
    assert_eq!(
        read(&v2(0x21, 0x31, &[0; 216])),
        Err(Malformed::Family),
        "unix"
    );
    assert_eq!(read(&v2(0x21, 0x11, &TCP4[..11])), Err(Malformed::Length));
    assert_eq!(read(&v2(0x21, 0x21, TCP4)), Err(Malformed::Length));
    assert_eq!(read(&v2(0x21, 0x11, &[0; 5000])), Err(Malformed::Length));
}

#[test]
fn no_header_at_all() {
    for start in [
        b"EHLO client.test\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaa",
        b"PROXIES UNKNOWN\r\n",
    ] {
        assert_eq!(
            read(start),
            Err(Malformed::NotProxy),
            "{}",
            start.escape_ascii()
        );
    }
    assert_eq!(
        read(b"PROXY TCP4 192.0"),
        Ok(None),
        "cut off: more is wanted"
    );
}

proptest! {
    #[test]
    fn any_octets_are_read_without_panic_and_within_bounds(
        octets in proptest::collection::vec(any::<u8>(), 0..300),
        v1 in any::<bool>(), v2 in any::<bool>(),
    ) {
        let start: &[u8] = if v1 { b"PROXY " } else if v2 { SIGNATURE } else { b"" };
        let stream = [start, &octets].concat();
        if let Ok(Some((_, taken))) = read(&stream) {
            prop_assert!(taken <= FIXED_V2 + LONGEST_V2_REST && taken <= stream.len());
        }
    }
}
