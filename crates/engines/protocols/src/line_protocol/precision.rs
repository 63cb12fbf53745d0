//! What a timestamp counts.

/// The unit of a body's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// `ns`, `n`, or nothing said.
    #[default]
    Nanoseconds,
    /// `us`, `u`, `µ`, `µs`.
    Microseconds,
    /// `ms`
    Milliseconds,
    /// `s`
    Seconds,
    /// `m`, of 1.x
    Minutes,
    /// `h`, of 1.x
    Hours,
}

/// A precision that neither API names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid precision {0:?} (use ns, us, ms, s, m or h)")]
pub struct BadPrecision(pub String);

impl Precision {
    /// Reads the `precision` of either API; empty is nanoseconds.
    ///
    /// # Errors
    /// [`BadPrecision`] with the text.
    pub fn parse(text: &str) -> Result<Self, BadPrecision> {
        Ok(match text {
            "" | "n" | "ns" => Self::Nanoseconds,
            // The micro sign and the Greek letter look the same.
            "u" | "us" | "\u{b5}" | "\u{b5}s" | "\u{3bc}" | "\u{3bc}s" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            other => return Err(BadPrecision(other.to_owned())),
        })
    }

    /// A timestamp in microseconds since 1970 UTC; nanoseconds are cut to the microsecond they lie
    /// in. `None` beyond 64 bits.
    #[must_use]
    pub fn micros(self, timestamp: i64) -> Option<i64> {
        match self {
            Self::Nanoseconds => Some(timestamp.div_euclid(1000)),
            Self::Microseconds => Some(timestamp),
            Self::Milliseconds => timestamp.checked_mul(1000),
            Self::Seconds => timestamp.checked_mul(1_000_000),
            Self::Minutes => timestamp.checked_mul(60_000_000),
            Self::Hours => timestamp.checked_mul(3_600_000_000),
        }
    }
}
