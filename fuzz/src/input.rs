//! An input taken apart: what steers the target in front, what is fed to it behind.

/// The first `N` octets (0 where there are fewer), and the rest.
#[must_use]
pub fn front<const N: usize>(input: &[u8]) -> ([u8; N], &[u8]) {
    let mut steering = [0; N];
    let (head, rest) = input.split_at(N.min(input.len()));
    for (octet, given) in steering.iter_mut().zip(head) {
        *octet = *given;
    }
    (steering, rest)
}

/// Sizes of the pieces that octets come in, over and over; all 0: in one piece.
#[must_use]
pub fn pieces<'a>(octets: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    if sizes.iter().all(|size| *size == 0) {
        return vec![octets];
    }
    let mut sizes = sizes.iter().cycle();
    let mut rest = octets;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |size| usize::from(*size).max(1));
        let (piece, more) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = more;
    }
    pieces
}

/// Texts divided by NUL, what is no UTF-8 replaced; at most `most`.
#[must_use]
pub fn texts(input: &[u8], most: usize) -> Vec<String> {
    input
        .splitn(most, |octet| *octet == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}
