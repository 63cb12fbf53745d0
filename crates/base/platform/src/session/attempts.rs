//! What slows a guesser down: attempts to log in, counted by login *and* address, so that a guesser
//! elsewhere does not lock a duty officer out, and one who mistypes does not lock out the office
//! behind the same address.
//!
//! Five attempts are free, then each waits twice as long as the one before, and the tenth locks the
//! login at that address for a quarter of an hour, or until the security administrator lifts it.
//! Kept in memory: a restart forgives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How many wrong passwords a login may give from one address before it must wait.
const FREE: u32 = 5;
/// At how many the login is locked at that address.
pub(crate) const LOCKED: u32 = 10;
/// How long it stays locked.
const LOCK: Duration = Duration::from_secs(900);
/// How many pairs of login and address are remembered.
const REMEMBERED: usize = 10_000;

/// A login that must wait at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOut {
    /// From where the attempts came.
    pub address: String,
    /// How many there were.
    pub attempts: u32,
    /// How long the next must still wait.
    pub seconds_left: u64,
}

struct Tried {
    count: u32,
    last: Instant,
}

impl Tried {
    /// How long the next attempt must still wait.
    fn wait(&self) -> Option<Duration> {
        let over = self.count.checked_sub(FREE)?;
        let wait = if self.count >= LOCKED { LOCK } else { Duration::from_secs(1 << over) };
        wait.checked_sub(self.last.elapsed()).filter(|left| !left.is_zero())
    }
}

/// The attempts of late.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<(String, String), Tried>>);

impl Attempts {
    fn tried(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Tried>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt, which one it is; or says how long to wait before the next. Counted before
    /// it is tried, so that many at once are no way round.
    pub(crate) fn count(&self, login: &str, address: &str) -> Result<u32, Duration> {
        let mut tried = self.tried();
        let key = (login.to_owned(), address.to_owned());
        if tried.len() >= REMEMBERED && !tried.contains_key(&key) {
            tried.retain(|_, one| one.last.elapsed() < LOCK);
            if tried.len() >= REMEMBERED
                && let Some(oldest) = tried.iter().min_by_key(|(_, one)| one.last).map(|(k, _)| k.clone())
            {
                tried.remove(&oldest);
            }
        }
        let one = tried.entry(key).or_insert_with(|| Tried { count: 0, last: Instant::now() });
        if one.last.elapsed() >= LOCK {
            one.count = 0;
        }
        if let Some(left) = one.wait() {
            return Err(left);
        }
        one.count += 1;
        one.last = Instant::now();
        Ok(one.count)
    }

    /// The attempt was right, though it did not log in yet.
    pub(crate) fn forgive_one(&self, login: &str, address: &str) {
        if let Some(one) = self.tried().get_mut(&(login.to_owned(), address.to_owned())) {
            one.count = one.count.saturating_sub(1);
        }
    }

    /// The attempt logged in.
    pub(crate) fn forget(&self, login: &str, address: &str) {
        self.tried().remove(&(login.to_owned(), address.to_owned()));
    }

    /// Where a login must wait now.
    pub(crate) fn lock_outs(&self, login: &str) -> Vec<LockOut> {
        let tried = self.tried();
        let mut found: Vec<LockOut> = tried
            .iter()
            .filter(|((l, _), _)| l == login)
            .filter_map(|((_, address), one)| {
                let seconds_left = one.wait()?.as_secs().max(1);
                Some(LockOut { address: address.clone(), attempts: one.count, seconds_left })
            })
            .collect();
        found.sort_by(|a, b| a.address.cmp(&b.address));
        found
    }

    /// Lifts all waits of a login; how many there were.
    pub(crate) fn lift(&self, login: &str) -> usize {
        let mut tried = self.tried();
        let before = tried.len();
        tried.retain(|(l, _), _| l != login);
        before - tried.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_are_free_ten_lock_and_a_lift_frees() {
        let attempts = Attempts::default();
        for n in 1..=5 {
            assert_eq!(attempts.count("a", "x"), Ok(n));
        }
        assert!(attempts.count("a", "x").is_err());
        assert_eq!(attempts.count("a", "y"), Ok(1), "another address");
        assert_eq!(attempts.count("b", "x"), Ok(1), "another login");
        assert_eq!(attempts.lock_outs("a").len(), 1);
        // As if the tenth had been tried just now.
        attempts.tried().insert(("a".into(), "z".into()), Tried { count: LOCKED, last: Instant::now() });
        let waits = attempts.lock_outs("a");
        assert_eq!(waits.iter().map(|l| l.address.as_str()).collect::<Vec<_>>(), ["x", "z"]);
        assert!((880..=900).contains(&waits[1].seconds_left), "{waits:?}");
        assert_eq!(attempts.lift("a"), 3);
        assert_eq!(attempts.count("a", "z"), Ok(1));
        attempts.forgive_one("a", "z");
        assert_eq!(attempts.count("a", "z"), Ok(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..REMEMBERED + 100 {
            assert_eq!(attempts.count(&n.to_string(), "x"), Ok(1));
        }
        assert_eq!(attempts.tried().len(), REMEMBERED);
    }
}
