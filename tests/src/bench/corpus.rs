//! The mails of a bench: sizes from 1.5 to 200 kB, about 17 kB on average, from a fixed seed.

use postern_cli::demo::signing::Signer;
use std::fmt::Write as _;

/// The sizes in octets and how many of the mails have each; the mean is about 17 kB.
const SIZES: [(usize, usize); 7] = [
    (1_500, 36),
    (3_000, 44),
    (6_000, 44),
    (12_000, 36),
    (30_000, 24),
    (80_000, 12),
    (200_000, 4),
];
/// The domain that signs.
pub const DOMAIN: &str = "sender.test";

/// A pseudo-random sequence (Knuth's MMIX constants): the same in every run.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(below)).expect("below a u32")
    }
}

/// The mails, ready to be sent: dot-stuffed, with the final dot.
#[derive(Debug)]
pub struct Corpus {
    /// One after the other.
    pub mails: Vec<Vec<u8>>,
    /// Octets of all, without the final dots.
    pub octets: usize,
}

impl Corpus {
    /// Makes the corpus; each mail is signed when there is a signer.
    ///
    /// # Panics
    /// When a mail cannot be signed.
    #[must_use]
    pub fn new(signer: Option<&Signer>) -> Self {
        let mut sequence = Sequence(20_261_122);
        let mails: Vec<String> = sizes(&mut sequence)
            .into_iter()
            .enumerate()
            .map(|(number, size)| {
                let mail = mail(number, size, &mut sequence);
                signer.map_or_else(
                    || mail.clone(),
                    |signer| signer.sign(&mail).expect("signed"),
                )
            })
            .collect();
        Self {
            octets: mails.iter().map(String::len).sum(),
            mails: mails.iter().map(|mail| framed(mail)).collect(),
        }
    }

    /// Mean size of a mail, kB.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn mean_kb(&self) -> f64 {
        self.octets as f64 / self.mails.len() as f64 / 1000.0
    }
}

fn framed(mail: &str) -> Vec<u8> {
    let mut octets = mail.replace("\r\n.", "\r\n..").into_bytes();
    octets.extend_from_slice(b".\r\n");
    octets
}

/// The size of each mail, in an order that mixes them (Fisher and Yates).
fn sizes(sequence: &mut Sequence) -> Vec<usize> {
    let mut sizes: Vec<usize> = SIZES
        .into_iter()
        .flat_map(|(size, number)| std::iter::repeat_n(size, number))
        .collect();
    for last in (1..sizes.len()).rev() {
        let below = u32::try_from(last + 1).expect("a small corpus");
        sizes.swap(last, sequence.next(below) as usize);
    }
    sizes
}

fn mail(number: usize, size: usize, sequence: &mut Sequence) -> String {
    let mut mail = format!(
        "From: Alice <alice@{DOMAIN}>\r\nTo: Bob <bob@acme.test>\r\n\
         Subject: Minutes of meeting {number}\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <bench-{number}@{DOMAIN}>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    let words = [
        "agenda", "budget", "release", "customer", "harbour", "letter", "of", "the", "to",
    ];
    while mail.len() < size {
        for _ in 0..9 {
            let word = words[sequence.next(9) as usize];
            let _ = write!(mail, "{word} ");
        }
        mail.push_str("\r\n");
    }
    mail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_the_same_in_every_run_and_about_17_kb_on_average() {
        let corpus = Corpus::new(None);
        assert!(
            (16.5..17.5).contains(&corpus.mean_kb()),
            "{} kB",
            corpus.mean_kb()
        );
        assert_eq!(corpus.mails, Corpus::new(None).mails);
        let sizes: Vec<usize> = corpus.mails.iter().map(Vec::len).collect();
        assert!(sizes.iter().min().is_some_and(|least| *least < 2000));
        assert!(sizes.iter().max().is_some_and(|most| *most > 190_000));
    }
}
