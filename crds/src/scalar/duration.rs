//! Durations in the form of the Gateway API: `1h`, `90s`, `1m30s`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{ScalarError, string_scalar};

/// A duration as Go prints it, restricted to what Gateway API's GEP-2257 allows: one to four
/// groups of one to five digits with the unit `h`, `m`, `s` or `ms`; no sign, no fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(Duration);

/// GEP-2257, the pattern of the Gateway API's own `Duration`.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

string_scalar!(GoDuration, max_length: 28, pattern: PATTERN);

impl GoDuration {
    /// The duration of so many whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The same as the standard library's type.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl FromStr for GoDuration {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let error = || ScalarError::new(text, "a duration such as 500ms, 30s, 5m or 1h30m");
        let mut rest = text;
        let mut total = Duration::ZERO;
        for group in 0.. {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if group == 4 || !(1..=5).contains(&digits) {
                return Err(error());
            }
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| error())?;
            let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, after) = after.split_at(letters);
            total += match unit {
                "h" => Duration::from_secs(number * 3600),
                "m" => Duration::from_secs(number * 60),
                "s" => Duration::from_secs(number),
                "ms" => Duration::from_millis(number),
                _ => return Err(error()),
            };
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        Ok(Self(total))
    }
}

impl fmt::Display for GoDuration {
    /// Canonical: the largest units first, none that is zero, and `0s` for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (u64::from(self.0.subsec_millis()), "ms"),
        ];
        parts
            .iter()
            .filter(|(n, _)| *n > 0)
            .try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}
