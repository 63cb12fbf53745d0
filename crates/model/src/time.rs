//! Time: UTC microseconds inside, RFC 3339 outside, ISO 8601 durations in declarations.

use jiff::{SignedDuration, Span, Timestamp, Unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in microseconds since 1970-01-01T00:00:00Z.
///
/// Databases and segments hold the integer; JSON shows RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl Micros {
    /// One second.
    pub const SECOND: i64 = 1_000_000;
    /// One minute.
    pub const MINUTE: i64 = 60 * Self::SECOND;
    /// One hour.
    pub const HOUR: i64 = 60 * Self::MINUTE;
    /// One day of 24 hours.
    pub const DAY: i64 = 24 * Self::HOUR;

    /// The instant `micros` microseconds later (earlier when negative); saturates at the ends.
    #[must_use]
    pub fn plus(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// A message that fits after "cannot read the time: ".
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse::<Timestamp>().map(|t| Self(t.as_microsecond())).map_err(|e| e.to_string())
    }

    /// The same instant as jiff names it; an instant outside jiff's range (years −9999 to 9999)
    /// is cut to its nearest end.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

impl From<Timestamp> for Micros {
    fn from(t: Timestamp) -> Self {
        Self(t.as_microsecond())
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.timestamp().fmt(f)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Micros {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC"))
            .into()
    }
}

impl utoipa::ToSchema for Micros {
    fn name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }
}

/// A length of time as declarations write it: ISO 8601, days and below (`PT10M`, `P1DT2H`).
///
/// Months and years have no fixed length and are refused. Held in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsoDuration(pub i64);

impl IsoDuration {
    /// Reads ISO 8601.
    ///
    /// # Errors
    /// A message that fits after "cannot read the duration: ".
    pub fn parse(text: &str) -> Result<Self, String> {
        // jiff also reads "10 minutes"; declarations have one way to write a duration.
        if !text.starts_with('P') {
            return Err(format!("{text:?} is not an ISO 8601 duration like PT10M"));
        }
        let span: Span = text.parse().map_err(|e: jiff::Error| e.to_string())?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(format!(
                "{text:?} has months or years, whose length is not fixed; use days or hours"
            ));
        }
        let micros = span
            .total((Unit::Microsecond, jiff::SpanRelativeTo::days_are_24_hours()))
            .map_err(|e| e.to_string())?;
        if !(0.0..=9.0e15).contains(&micros) {
            return Err(format!("{text:?} is negative or longer than 285 years"));
        }
        Ok(Self(micros as i64))
    }
}

impl std::fmt::Display for IsoDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SignedDuration::from_micros(self.0).fmt(f)
    }
}

impl Serialize for IsoDuration {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IsoDuration {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_declarations_write_them() {
        for (text, expected) in [
            ("PT10M", Ok(600 * Micros::SECOND)),
            ("PT0.5S", Ok(500_000)),
            ("P1DT2H", Ok(26 * Micros::HOUR)),
            ("P1M", Err(())),
            ("P1Y", Err(())),
            ("-PT1S", Err(())),
            ("10 minutes", Err(())),
        ] {
            assert_eq!(IsoDuration::parse(text).map(|d| d.0).map_err(|_| ()), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn instants_survive_json(micros in -30_000_000_000_000_000i64..=200_000_000_000_000_000) {
            let json = serde_json::to_string(&Micros(micros)).unwrap();
            proptest::prop_assert_eq!(serde_json::from_str::<Micros>(&json).unwrap(), Micros(micros));
        }
    }
}
