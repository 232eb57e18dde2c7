//! A message as servers read it that are less strict than RFC 5321.

/// Fails if a message that goes on to a backend has a bare CR or LF, or if a server that takes CR,
/// LF and CRLF for a line end and drops NUL would find the end of data in it.
pub fn assert_safe(message: &[u8]) {
    let shown = || message.escape_ascii().to_string();
    let mut before = 0;
    for (at, octet) in message.iter().enumerate() {
        let next = message.get(at + 1).copied();
        assert!(*octet != b'\n' || before == b'\r', "bare LF: {}", shown());
        assert!(
            *octet != b'\r' || next == Some(b'\n'),
            "bare CR: {}",
            shown()
        );
        before = *octet;
    }
    for line in message.split(|octet| *octet == b'\n') {
        // As it is sent: a leading dot is doubled.
        let dots = usize::from(line.first() == Some(&b'.'));
        let seen: Vec<u8> = line
            .iter()
            .copied()
            .filter(|octet| !matches!(octet, 0 | b'\r'))
            .collect();
        assert!(
            seen != b"." || dots == 1 && !line.contains(&0),
            "a dot alone: {}",
            shown()
        );
    }
}

/// What a strict server makes of the octets behind DATA (RFC 5321 §4.5.2): the message and what
/// stands behind its end.
#[must_use]
pub fn received(mut octets: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut message = Vec::new();
    loop {
        if let Some(behind) = octets.strip_prefix(b".\r\n") {
            return Some((message, behind));
        }
        octets = octets.strip_prefix(b".").unwrap_or(octets);
        let end = octets.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let (line, rest) = octets.split_at(end);
        message.extend_from_slice(line);
        octets = rest;
    }
}
