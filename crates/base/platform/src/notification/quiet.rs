//! Quiet hours (免打扰时段): when a person is left in peace.
//!
//! Red and orange are never held back: of the four national warning colours they are the two that
//! ask for action now (特别重大, 重大). Yellow, blue and what has no colour wait for the end of the
//! quiet hours. In the pages everything is there at once.

use jiff::ToSpan as _;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use model::{Micros, Severity};

/// A time of day from which and one to which a person is left in peace, in the city's time zone.
/// From and to alike: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// Minutes of the day at which they begin.
    from: i16,
    /// Minutes of the day at which they end.
    to: i16,
}

impl Default for QuietHours {
    /// 22:00 to 07:00.
    fn default() -> Self {
        Self { from: 22 * 60, to: 7 * 60 }
    }
}

fn minutes(text: &str) -> Option<i16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let (hour, minute): (i16, i16) = (hour.parse().ok()?, minute.parse().ok()?);
    ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute)
}

impl QuietHours {
    /// Never.
    pub const NONE: Self = Self { from: 0, to: 0 };

    /// Reads `22:00-07:00`, or `none`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::NONE);
        }
        let read = text.split_once('-').and_then(|(from, to)| Some((minutes(from)?, minutes(to)?)));
        let (from, to) = read.ok_or_else(|| format!("{text:?} is not HH:MM-HH:MM or none"))?;
        if from == to {
            return Err(format!("{text:?} begins and ends at once; write none for no quiet hours"));
        }
        Ok(Self { from, to })
    }

    /// When the quiet hours that hold at `at` end; `None` when none hold then.
    #[must_use]
    pub fn end_of(&self, at: Micros, zone: &TimeZone) -> Option<Micros> {
        let local = at.timestamp().to_zoned_datetime(zone.clone());
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let within = if self.from < self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from != self.to && (self.from <= minute || minute < self.to)
        };
        if !within {
            return None;
        }
        let day = if minute < self.to { local.date() } else { local.date().checked_add(1.day()).ok()? };
        let time = Time::new((self.to / 60) as i8, (self.to % 60) as i8, 0, 0).ok()?;
        // An hour that summer time leaves out: the instant after the gap.
        let end = day.to_datetime(time).to_zoned_datetime(zone.clone()).ok()?;
        Some(Micros(end.timestamp().as_microsecond()))
    }

    /// Until when a message of this severity is held back at `at`; `None`: it goes now.
    #[must_use]
    pub fn hold(&self, severity: Option<Severity>, at: Micros, zone: &TimeZone) -> Option<Micros> {
        if matches!(severity, Some(Severity::Red | Severity::Orange)) {
            return None;
        }
        self.end_of(at, zone)
    }
}

impl std::fmt::Display for QuietHours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.from == self.to {
            return f.write_str("none");
        }
        let (a, b, c, d) = (self.from / 60, self.from % 60, self.to / 60, self.to % 60);
        write!(f, "{a:02}:{b:02}-{c:02}:{d:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_and_orange_pass_and_the_rest_waits_for_the_morning() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let at = |text: &str| Micros::parse(&format!("{text}+08:00")).unwrap();
        let (red, orange, yellow, blue) =
            (Some(Severity::Red), Some(Severity::Orange), Some(Severity::Yellow), Some(Severity::Blue));
        for (hours, severity, now, until) in [
            ("22:00-07:00", red, "2026-11-24T23:30:00", None),
            ("22:00-07:00", orange, "2026-11-24T23:30:00", None),
            ("22:00-07:00", yellow, "2026-11-24T23:30:00", Some("2026-11-25T07:00:00")),
            ("22:00-07:00", blue, "2026-11-24T23:30:00", Some("2026-11-25T07:00:00")),
            ("22:00-07:00", None, "2026-11-25T03:00:00", Some("2026-11-25T07:00:00")),
            ("22:00-07:00", yellow, "2026-11-24T22:00:00", Some("2026-11-25T07:00:00")),
            ("22:00-07:00", yellow, "2026-11-24T21:59:59", None),
            ("22:00-07:00", yellow, "2026-11-25T06:59:59", Some("2026-11-25T07:00:00")),
            ("22:00-07:00", yellow, "2026-11-25T07:00:00", None),
            ("12:00-14:00", blue, "2026-11-25T13:00:00", Some("2026-11-25T14:00:00")),
            ("12:00-14:00", blue, "2026-11-25T23:00:00", None),
            ("none", blue, "2026-11-25T03:00:00", None),
            // Across the end of a year.
            ("22:00-07:00", yellow, "2026-12-31T23:30:00", Some("2027-01-01T07:00:00")),
        ] {
            let hours = QuietHours::parse(hours).unwrap();
            assert_eq!(hours.hold(severity, at(now), &zone), until.map(at), "{hours} {severity:?} {now}");
        }
    }

    #[test]
    fn hours_are_read_and_written() {
        for text in ["22:00-07:00", "00:30-23:05", "none"] {
            assert_eq!(QuietHours::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "22-7", "24:00-07:00", "22:00-07:60", "07:00-07:00", "always"] {
            assert!(QuietHours::parse(wrong).is_err(), "{wrong}");
        }
    }
}
