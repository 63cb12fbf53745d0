//! Acknowledgements that wait, in the order of receipt (MQTT 4.6.0-2).

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Instant;

use bytes::BytesMut;
use metrics::Histogram;
use rmqtt_codec::v5::PublishAckReason;

use super::wire::Wire;

/// One PUBACK to be.
pub(crate) struct Waiting {
    pub(crate) packet_id: NonZeroU16,
    pub(crate) received: Instant,
    pub(crate) reason: PublishAckReason,
    /// What 5 adds in words.
    pub(crate) text: Option<Box<str>>,
    /// Leaves after the commit of its batch; without, as soon as it is the first in line.
    pub(crate) after_commit: bool,
}

/// The queue of one connection.
#[derive(Default)]
pub(crate) struct AckQueue {
    waiting: VecDeque<Waiting>,
    /// Commits used up by acknowledgements sent.
    spent: u64,
}

impl AckQueue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn push(&mut self, ack: Waiting) {
        self.waiting.push_back(ack);
    }

    /// Writes what may leave now that `committed` messages of this connection are on disk.
    pub(crate) fn release(
        &mut self,
        committed: u64,
        wire: &mut Wire,
        out: &mut BytesMut,
        seconds: &Histogram,
    ) {
        let mut run: Option<(Instant, usize)> = None;
        while let Some(ack) = self.waiting.pop_front_if(|ack| !ack.after_commit || self.spent < committed) {
            self.spent += u64::from(ack.after_commit);
            wire.publish_ack(ack.packet_id, ack.reason, ack.text.as_deref(), out);
            // Messages of one read share their time of receipt: one entry for all of them.
            run = match run {
                Some((received, n)) if received == ack.received => Some((received, n + 1)),
                other => {
                    record(other, seconds);
                    Some((ack.received, 1))
                }
            };
        }
        record(run, seconds);
    }
}

fn record(run: Option<(Instant, usize)>, seconds: &Histogram) {
    if let Some((received, n)) = run {
        seconds.record_many(received.elapsed().as_secs_f64(), n);
    }
}
