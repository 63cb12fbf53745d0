//! When a failed delivery is tried again, and when the next channel is used in its place.

use model::Micros;

use super::carrier::SendError;

/// The pause after the first failure, µs.
const FIRST_PAUSE: i64 = 5 * Micros::SECOND;
/// The longest pause, µs.
const LONGEST_PAUSE: i64 = 10 * Micros::MINUTE;
/// How often a delivery is tried at most before a person has to look.
pub const TRIES: i64 = 10;

/// What is done about a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tried again at that time.
    Again(Micros),
    /// Given up for the next channel.
    NextChannel,
    /// Given up; it waits for an operator.
    Dead,
}

/// A failed delivery.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'e> {
    /// How often it was tried, this time included.
    pub tries: i64,
    /// When it was tried first.
    pub first_at: Micros,
    /// Whether there is a next channel.
    pub has_next: bool,
    /// What went wrong.
    pub error: &'e SendError,
}

/// The pause after so many tries: doubled each time, and of that between the half and the whole
/// (`jitter`, 0 to 1), so that what failed together is not tried again together.
#[must_use]
pub fn pause(tries: i64, jitter: f64) -> i64 {
    let whole = FIRST_PAUSE.saturating_mul(1 << (tries - 1).clamp(0, 20)).min(LONGEST_PAUSE);
    whole / 2 + (jitter.clamp(0.0, 1.0) * (whole / 2) as f64) as i64
}

/// Decides. With a next channel a delivery is tried until `next_after` (µs) from its first try is
/// over, the last time then; without one, up to [`TRIES`] times. What the far side refuses for
/// good is not tried again.
#[must_use]
pub fn decide(failed: &Failed<'_>, now: Micros, next_after: i64, jitter: f64) -> Next {
    let give_up = if failed.has_next { Next::NextChannel } else { Next::Dead };
    if !failed.error.retry || failed.tries >= TRIES {
        return give_up;
    }
    let asked = failed.error.after.map_or(0, |after| after.min(LONGEST_PAUSE));
    let again = now.plus(pause(failed.tries, jitter).max(asked));
    if !failed.has_next {
        return Next::Again(again);
    }
    let end = failed.first_at.plus(next_after);
    if now >= end { give_up } else { Next::Again(again.min(end)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = Micros::SECOND;

    #[test]
    fn pauses_double_within_their_bounds() {
        for (tries, low, high) in
            [(1, 2.5, 5.0), (2, 5.0, 10.0), (4, 20.0, 40.0), (9, 300.0, 600.0), (60, 300.0, 600.0)]
        {
            let (a, b) = (pause(tries, 0.0) as f64 / S as f64, pause(tries, 1.0) as f64 / S as f64);
            assert!((a - low).abs() < 1e-9 && (b - high).abs() < 1e-9, "{tries}: {a} {b}");
        }
    }

    #[test]
    fn a_channel_that_fails_for_the_declared_time_is_given_up() {
        let soft = SendError::retry("no answer");
        let hard = SendError::last("no such number");
        let busy = SendError { after: Some(60 * S), ..SendError::retry("busy") };
        let first = Micros(0);
        for (tries, now, has_next, error, expected) in [
            (1, 0, true, &soft, Next::Again(Micros(5 * S))),
            (3, 50, true, &soft, Next::Again(Micros(70 * S))),
            // The last try falls on the end of the declared time.
            (6, 100, true, &soft, Next::Again(Micros(120 * S))),
            (7, 120, true, &soft, Next::NextChannel),
            (1, 0, true, &hard, Next::NextChannel),
            (1, 0, false, &hard, Next::Dead),
            (7, 1200, false, &soft, Next::Again(Micros(1520 * S))),
            (TRIES, 4000, false, &soft, Next::Dead),
            (1, 0, true, &busy, Next::Again(Micros(60 * S))),
        ] {
            let failed = Failed { tries, first_at: first, has_next, error };
            assert_eq!(decide(&failed, Micros(now * S), 120 * S, 1.0), expected, "{tries} {now}");
        }
    }
}
