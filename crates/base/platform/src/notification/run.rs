//! The background task that sends what is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::Micros;
use store::{StoreError, args, now};
use tokio::task::{JoinHandle, JoinSet};

use super::channel::Channel;
use super::{Notifications, SendError};
use crate::notification::outbox::Claimed;

store::statements! {
    WAITING = "SELECT channel, COUNT(*), MIN(created_at) FROM deliveries WHERE state IN ('waiting', 'held', 'sending')
        GROUP BY channel";
    OLDEST = "SELECT channel, MIN(next_at) FROM deliveries WHERE state IN ('waiting', 'sending') GROUP BY channel";
    DEAD = "SELECT COUNT(*) FROM deliveries WHERE state = 'dead'";
}

/// How many deliveries of one channel are in hand at once: a channel that hangs holds up no other.
pub const AT_ONCE: usize = 16;
/// The longest sleep: what another node wrote has no wake-up here.
const LONGEST: Duration = Duration::from_secs(10);
/// How long stopping waits for what is in hand.
const GRACE: Duration = Duration::from_secs(5);
/// How often the gauges are read.
const GAUGES: Duration = Duration::from_secs(5);

type Done = (Claimed, Result<Option<String>, SendError>);

impl Notifications {
    /// One round at the instant `now`: what is due is claimed, sent and settled. How many.
    /// The background task does the same without waiting for the slow ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn round(&self, now: Micros) -> Result<usize, StoreError> {
        self.reclaim(now, now).await?;
        let mut claimed = Vec::new();
        for channel in Channel::ALL {
            claimed.extend(self.claim(channel, now, AT_ONCE as i64).await?);
        }
        let outcomes = join_all(claimed.iter().map(|c| self.deliver(c))).await;
        let count = claimed.len();
        for (claimed, outcome) in claimed.iter().zip(outcomes) {
            self.settle(claimed, outcome, now).await?;
        }
        Ok(count)
    }

    /// Starts sending, until [`Notifications::stop`]. What a hub before this one had in hand is
    /// sent again: this one has the database for itself.
    #[must_use]
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let notifications = self.clone();
        tokio::spawn(async move { notifications.run().await })
    }

    /// Ends the sending, after what is in hand.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    async fn run(self: Arc<Self>) {
        let mut head = self.store.head();
        let mut sending: JoinSet<Done> = JoinSet::new();
        let mut in_hand: BTreeMap<Channel, usize> = BTreeMap::new();
        let mut fresh = true;
        let mut gauges = tokio::time::interval(GAUGES);
        loop {
            // At the start whatever is in hand is a dead hub's, lease or not.
            let lapsed = if fresh { Micros(i64::MAX) } else { now() };
            let pause = match self.fill(&mut sending, &mut in_hand, lapsed).await {
                Ok(pause) => {
                    fresh = false;
                    pause
                }
                Err(StoreError::Stopping) => break,
                Err(e) => {
                    tracing::warn!(error = %e, "notifications wait: the store does not answer");
                    Duration::from_secs(1)
                }
            };
            let done = tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.store.stopped() => break,
                Some(done) = sending.join_next() => Some(done),
                () = self.wake.notified() => None,
                changed = head.changed() => if changed.is_err() { break } else { None },
                _ = gauges.tick() => {
                    self.gauges().await;
                    None
                }
                () = tokio::time::sleep(pause) => None,
            };
            // A flood of commits has the outbox looked at fifty times a second at most, and what
            // ends meanwhile is noted together.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut ended: Vec<_> = done.into_iter().collect();
            ended.extend(std::iter::from_fn(|| sending.try_join_next()));
            for done in &ended {
                if let Ok((claimed, _)) = done
                    && let Some(hand) = in_hand.get_mut(&claimed.parcel.channel)
                {
                    *hand = hand.saturating_sub(1);
                }
            }
            join_all(ended.into_iter().map(|done| self.note(done))).await;
        }
        // What is in hand is finished, so that nobody is told twice; what hangs comes back at the start.
        let finish = async {
            while let Some(done) = sending.join_next().await {
                self.note(done).await;
            }
        };
        if tokio::time::timeout(GRACE, finish).await.is_err() {
            tracing::warn!("notifications in hand are cut off; they are sent again under their keys");
        }
        sending.abort_all();
    }

    /// Claims what is due and has it sent; how long nothing more will be due.
    async fn fill(
        self: &Arc<Self>,
        sending: &mut JoinSet<Done>,
        in_hand: &mut BTreeMap<Channel, usize>,
        lapsed: Micros,
    ) -> Result<Duration, StoreError> {
        self.reclaim(lapsed, now()).await?;
        let Some(next) = self.next_at().await? else { return Ok(LONGEST) };
        let at = now();
        if next > at {
            let micros = u64::try_from(next.since(at)).unwrap_or(0);
            return Ok(Duration::from_micros(micros).min(LONGEST));
        }
        let mut found = false;
        for channel in Channel::ALL {
            let hand = in_hand.entry(channel).or_default();
            let free = AT_ONCE.saturating_sub(*hand);
            if free == 0 {
                continue;
            }
            for claimed in self.claim(channel, at, free as i64).await? {
                found = true;
                *hand += 1;
                let notifications = self.clone();
                sending.spawn(async move {
                    let outcome = notifications.deliver(&claimed).await;
                    (claimed, outcome)
                });
            }
        }
        // What is due and was not claimed waits for its destination, which is in hand.
        Ok(if found { Duration::ZERO } else { Duration::from_secs(1) })
    }

    async fn note(&self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok((claimed, outcome)) => {
                if let Err(e) = self.settle(&claimed, outcome, now()).await {
                    tracing::warn!(delivery = %claimed.parcel.id, error = %e, "what came of a notification is not noted; it is sent again under its key");
                }
            }
            // A carrier that panics is a defect: one place of its channel is lost until the restart.
            Err(e) => {
                tracing::error!(error = %e, "the sending of a notification ended badly; it is tried again when its claim lapses")
            }
        }
    }

    async fn gauges(&self) {
        let waiting: Result<Vec<(String, i64, i64)>, _> = self.store.read().all(WAITING, args![]).await;
        let oldest: Result<Vec<(String, i64)>, _> = self.store.read().all(OLDEST, args![]).await;
        let dead: Result<Option<(i64,)>, _> = self.store.read().opt(DEAD, args![]).await;
        let (Ok(waiting), Ok(oldest), Ok(Some((dead,)))) = (waiting, oldest, dead) else { return };
        let at = now();
        for channel in Channel::ALL {
            let name = channel.as_str();
            let count = waiting.iter().find(|(c, ..)| c == name).map_or(0, |(_, n, _)| *n);
            // What is held back or paused is not late before its time.
            let late =
                oldest.iter().find(|(c, _)| c == name).map_or(0, |(_, due)| at.since(Micros(*due)).max(0));
            metrics::gauge!("zhongshu_notifications_waiting", "channel" => name).set(count as f64);
            metrics::gauge!("zhongshu_notifications_oldest_seconds", "channel" => name)
                .set(late as f64 / 1e6);
        }
        metrics::gauge!("zhongshu_notifications_dead").set(dead as f64);
    }
}
