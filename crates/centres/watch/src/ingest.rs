//! The doors that the gateway uses: who a device is, and what it says.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use lake::{Batch, Segment};
use model::observation::{
    Device, Devices, FUTURE_TOLERANCE_MICROS, Ingest, IngestError, Sample, Unreadable, quality,
};
use model::{Context, DatastreamKey, Micros};
use sha2::{Digest as _, Sha256};
use store::{StoreError, args, new_id, now};
use tokio::sync::mpsc;

use crate::Watch;

store::statements! {
    TRIM_UNREADABLE = "DELETE FROM unreadable WHERE id <= (SELECT id FROM unreadable ORDER BY id DESC LIMIT 1 OFFSET 10000)";
}

const ADD_UNREADABLE: &str = "INSERT INTO unreadable (id, thing, topic, payload, reason, received_at)";

/// How many unreadable payloads are written between two looks at the bound of 10,000.
pub(crate) const TRIM_EVERY: u64 = 500;

/// A committed segment on its way to the judge.
pub(crate) struct Taken {
    pub(crate) segment: Segment,
    /// When it was received, for the lag.
    pub(crate) began: Instant,
}

/// What only one ingest at a time may hold.
pub(crate) struct Door {
    /// `None` once the centre stops.
    pub(crate) queue: Option<mpsc::Sender<Taken>>,
    /// The newest sample to be judged of every datastream: what is not newer is late.
    pub(crate) newest: Vec<Micros>,
    /// Unreadable payloads since the last look at their bound.
    pub(crate) untrimmed: u64,
}

#[async_trait]
impl Devices for Watch {
    async fn authenticate(&self, thing: &str, secret: &[u8]) -> Option<Arc<Device>> {
        let given = Sha256::digest(secret);
        let (kept, device) = self.registry.secret(thing)?;
        // Every byte is looked at, so that the time taken does not tell where they differ.
        let differing =
            kept.iter().zip(given.iter()).fold(kept.len() ^ given.len(), |d, (a, b)| d | usize::from(a ^ b));
        (differing == 0).then(|| device.clone())
    }
}

#[async_trait]
impl Ingest for Watch {
    async fn ingest(&self, mut samples: Vec<Sample>, unreadable: Vec<Unreadable>) -> Result<(), IngestError> {
        let began = Instant::now();
        let mut door = self.door.lock().await;
        let Some(queue) = door.queue.clone() else { return Err(IngestError::Stopping) };
        if !unreadable.is_empty() {
            self.keep_unreadable(&mut door, unreadable)
                .await
                .map_err(|e| IngestError::Store(e.to_string()))?;
        }
        if samples.is_empty() {
            return Ok(());
        }
        // A place in the queue first: after the commit nothing may wait, or the ack would.
        let place = queue.reserve().await.map_err(|_| IngestError::Stopping)?;
        let received_at = now();
        for sample in &mut samples {
            self.flag(&door, sample, received_at);
        }
        let segment = self
            .lake
            .append(Batch { samples, received_at })
            .await
            .map_err(|e| IngestError::Store(e.to_string()))?;
        self.note(&mut door, &segment);
        place.send(Taken { segment, began });
        Ok(())
    }
}

impl Watch {
    fn flag(&self, door: &Door, sample: &mut Sample, received_at: Micros) {
        if sample.time.since(received_at) > FUTURE_TOLERANCE_MICROS {
            sample.quality |= quality::FROM_THE_FUTURE;
            return;
        }
        let range = self.registry.by_key(sample.datastream).and_then(|(.., stream)| stream.range);
        if range.is_some_and(|[low, high]| !(low..=high).contains(&sample.value)) {
            sample.quality |= quality::OUT_OF_RANGE;
        }
        if newest(door, sample.datastream).is_some_and(|newest| sample.time <= *newest) {
            sample.quality |= quality::LATE;
        }
    }

    /// Notes what a committed segment changes in memory.
    fn note(&self, door: &mut Door, segment: &Segment) {
        const NOT_JUDGED: u8 = quality::FROM_THE_FUTURE | quality::OUT_OF_RANGE;
        let mut appeared = Vec::new();
        let mut changed = Vec::new();
        for sample in segment.samples.iter() {
            let Ok(key) = usize::try_from(sample.datastream.0) else { continue };
            if sample.quality & NOT_JUDGED == 0
                && let Some(newest) = door.newest.get_mut(key)
            {
                *newest = sample.time.max(*newest);
            }
            if changed.last() != Some(&key) {
                changed.push(key);
                if let Some((thing, ..)) = self.registry.by_key(sample.datastream)
                    && self.standing.hear(thing)
                {
                    appeared.push(thing);
                }
            }
        }
        self.changed_values.push(changed.into_iter());
        if !appeared.is_empty() {
            self.changed_things.push(appeared.into_iter());
        }
    }

    async fn keep_unreadable(&self, door: &mut Door, unreadable: Vec<Unreadable>) -> Result<(), StoreError> {
        door.untrimmed += unreadable.len() as u64;
        let trim = door.untrimmed >= TRIM_EVERY;
        let rows: Vec<_> = unreadable
            .into_iter()
            .map(|u| args![new_id(), u.thing, u.topic, u.payload.to_vec(), u.reason, u.received_at])
            .collect();
        let context = Context::system("watch", new_id());
        self.store
            .command::<_, (), StoreError, _>(&context, "unreadable:keep", rows, move |tx, rows| {
                Box::pin(async move {
                    tx.bookkeeping();
                    tx.insert_many(ADD_UNREADABLE, "", 6, rows.clone()).await?;
                    if trim {
                        tx.execute(TRIM_UNREADABLE, args![]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        if trim {
            door.untrimmed = 0;
        }
        Ok(())
    }
}

fn newest(door: &Door, key: DatastreamKey) -> Option<&Micros> {
    usize::try_from(key.0).ok().and_then(|at| door.newest.get(at))
}
