//! What a backend offers in its reply to EHLO or LHLO (RFC 5321 §4.1.1.1).

use super::reply::Reply;

/// The extensions that we can use. None after HELO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954 with the mechanism PLAIN.
    pub auth_plain: bool,
    /// RFC 1870.
    pub size: SizeLimit,
}

/// `SIZE` (RFC 1870 §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SizeLimit {
    /// Not offered: MAIL carries no SIZE.
    #[default]
    NotOffered,
    /// Offered without a limit, or with the limit 0.
    Unlimited,
    /// No message of more octets is taken.
    Limit(u64),
}

impl Extensions {
    /// Reads the positive reply to EHLO or LHLO; unknown keywords are passed over.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut offered = Self::default();
        // The first line names the server.
        for line in reply.text.lines().skip(1) {
            offered.add(line);
        }
        offered
    }

    /// Whether a message of `octets` is within the declared limit.
    #[must_use]
    pub fn takes_size(&self, octets: u64) -> bool {
        match self.size {
            SizeLimit::NotOffered | SizeLimit::Unlimited => true,
            SizeLimit::Limit(most) => octets <= most,
        }
    }

    fn add(&mut self, line: &str) {
        // "AUTH=PLAIN" is how servers before RFC 4954 said it.
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { return };
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => self.auth_plain |= words.any(|word| word.eq_ignore_ascii_case("PLAIN")),
            "SIZE" => {
                self.size = match words.next().and_then(|limit| limit.parse().ok()) {
                    None | Some(0) => SizeLimit::Unlimited,
                    Some(limit) => SizeLimit::Limit(limit),
                }
            }
            _ => {}
        }
    }
}
