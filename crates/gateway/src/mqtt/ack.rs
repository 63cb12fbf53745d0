//! Acknowledgements that wait, in the order of receipt (4.6.0-2, 4.6.0-3).

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Instant;

use bytes::BytesMut;
use metrics::Histogram;

use super::speaker::Speaker;
use crate::codec::write::first;

/// One PUBACK or PUBREC to be.
pub(crate) struct Waiting {
    pub(crate) packet_id: NonZeroU16,
    pub(crate) received: Instant,
    /// [`first::PUBACK`] or [`first::PUBREC`].
    pub(crate) first: u8,
    pub(crate) reason: u8,
    /// What 5 adds in words.
    pub(crate) text: Option<Box<str>>,
    /// Leaves after the commit of its batch; without, as soon as it is the first in line.
    pub(crate) after_commit: bool,
}

/// The queue of one connection.
#[derive(Default)]
pub(crate) struct AckQueue {
    waiting: VecDeque<Waiting>,
    /// PUBACKs among them.
    of_qos_1: usize,
    /// Commits used up by acknowledgements sent.
    spent: u64,
}

/// Room that is kept when the queue is empty.
const KEPT: usize = 32;

impl AckQueue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// QoS 1 messages that are not acknowledged.
    pub(crate) fn of_qos_1(&self) -> usize {
        self.of_qos_1
    }

    pub(crate) fn push(&mut self, ack: Waiting) {
        self.of_qos_1 += usize::from(ack.first == first::PUBACK);
        self.waiting.push_back(ack);
    }

    /// Writes what may leave now that `committed` messages of this connection are on disk; how many
    /// PUBRECs that refuse were among it.
    pub(crate) fn release(
        &mut self,
        committed: u64,
        speaker: &Speaker,
        out: &mut BytesMut,
        seconds: &Histogram,
    ) -> usize {
        let mut run: Option<(Instant, usize)> = None;
        let mut refused = 0;
        while let Some(ack) = self.waiting.pop_front_if(|ack| !ack.after_commit || self.spent < committed) {
            self.spent += u64::from(ack.after_commit);
            self.of_qos_1 -= usize::from(ack.first == first::PUBACK);
            refused += usize::from(ack.first == first::PUBREC && ack.reason >= 0x80);
            speaker.ack(ack.first, ack.packet_id, ack.reason, ack.text.as_deref(), out);
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
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting.shrink_to(KEPT);
        }
        refused
    }
}

fn record(run: Option<(Instant, usize)>, seconds: &Histogram) {
    if let Some((received, n)) = run {
        seconds.record_many(received.elapsed().as_secs_f64(), n);
    }
}

/// Packets of a durable session that may leave only after the sessions' store has what they say:
/// PUBREL, PUBCOMP, SUBACK, UNSUBACK. In order; the link counts how many may go.
#[derive(Default)]
pub(crate) struct Held {
    packets: VecDeque<Box<[u8]>>,
    /// SUBACKs among them.
    subacks: usize,
    spent: u64,
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether a SUBACK is among them: messages of its subscription do not overtake it.
    pub(crate) fn holds_suback(&self) -> bool {
        self.subacks > 0
    }

    pub(crate) fn push(&mut self, packet: Box<[u8]>) {
        self.subacks += usize::from(packet.first() == Some(&first::SUBACK));
        self.packets.push_back(packet);
    }

    /// Writes what may leave.
    pub(crate) fn release(&mut self, let_go: u64, out: &mut BytesMut) {
        while self.spent < let_go
            && let Some(packet) = self.packets.pop_front()
        {
            self.spent += 1;
            self.subacks -= usize::from(packet.first() == Some(&first::SUBACK));
            out.extend_from_slice(&packet);
        }
    }
}
