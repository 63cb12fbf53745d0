//! Messages and commands to the client, and its acknowledgements.

use std::num::NonZeroU16;

use bytes::BytesMut;
use model::broker::Message;
use tokio::time::Instant;

use super::handshake::Party;
use super::link::Command;
use super::session::Session;
use crate::broker::writer::Waiter;
use crate::broker::{By, Post, Release, Written};
use crate::codec::read::Ack;
use crate::codec::reason;
use crate::codec::write::first;
use crate::topic;

/// Messages on the way to one client at the same time, however many it would take.
pub(super) const WINDOW: u16 = 1024;

/// Commands without PUBACK at the same time.
const COMMAND_WINDOW: usize = 16;

impl Session {
    /// Begins: PUBRELs of an earlier connection go first, and a session that was there before may
    /// listen to commands already.
    pub(super) fn resume(&mut self) {
        for packet_id in self.mailbox.to_release() {
            self.speaker.ack(first::PUBREL, packet_id, reason::SUCCESS, None, &mut self.out);
        }
        self.note_listening();
    }

    /// Sends what waits in the mailbox, as far as window and socket have room.
    pub(super) fn deliver(&mut self) {
        if !self.mail || self.is_slow() || self.held.holds_suback() {
            return;
        }
        let now = Instant::now();
        let (speaker, out, cap) = (&mut self.speaker, &mut self.out, super::session::OUT_CAP);
        let mut sent = 0;
        self.mail = self.mailbox.send(&self.link, self.window, now, &mut |delivery| {
            if out.len() >= cap {
                return Written::NoRoom;
            }
            if speaker.publish(delivery, now, out) {
                sent += 1;
                Written::Yes
            } else {
                Written::TooLong
            }
        });
        self.shared.meters.delivered.increment(sent);
    }

    /// PUBACK or PUBCOMP; one that nobody waits for is ignored.
    pub(super) fn acknowledged(&mut self, ack: Ack, by: By) {
        // There is room in the window again.
        self.mail |= self.mailbox.acknowledged(&self.link, ack.packet_id, by);
    }

    /// PUBREC: PUBREL follows, for a durable session once the store knows that the client has it.
    pub(super) fn received(&mut self, ack: Ack) {
        if ack.reason >= 0x80 {
            self.acknowledged(ack, By::RefusingPubrec);
            return;
        }
        match self.mailbox.received_by_client(&self.link, ack.packet_id) {
            Release::Now => self.say(first::PUBREL, ack.packet_id, reason::SUCCESS, false),
            Release::Held => self.say(first::PUBREL, ack.packet_id, reason::SUCCESS, true),
            Release::Unknown => self.say(first::PUBREL, ack.packet_id, reason::PACKET_ID_NOT_FOUND, false),
        }
    }

    /// PUBREL: PUBCOMP follows, for a durable session once the store knows that the id is free.
    pub(super) fn released(&mut self, ack: Ack) {
        let (known, held) = self.mailbox.complete(ack.packet_id);
        self.open -= usize::from(known).min(self.open);
        let reason = if known { reason::SUCCESS } else { reason::PACKET_ID_NOT_FOUND };
        self.say(first::PUBCOMP, ack.packet_id, reason, held);
    }

    fn say(&mut self, first: u8, packet_id: NonZeroU16, reason: u8, held: bool) {
        if held {
            let mut packet = BytesMut::new();
            self.speaker.ack(first, packet_id, reason, None, &mut packet);
            self.hold(&packet);
        } else {
            self.speaker.ack(first, packet_id, reason, None, &mut self.out);
        }
    }

    /// Has `packet` leave once what was changed before is on disk.
    pub(super) fn hold(&mut self, packet: &[u8]) {
        self.held.push(packet.into());
        self.shared.broker.common.writer.after(Waiter::Held(self.link.clone()));
    }

    /// Tells others whether commands can be sent.
    pub(super) fn note_listening(&mut self) {
        if let Party::Device(device) = &self.party {
            let topic = topic::command(&device.thing);
            self.link.listen(self.shared.broker.granted(&self.mailbox, &topic));
        }
    }

    /// Writes the commands that wait. One that cannot go is dropped, which tells its sender.
    pub(super) fn send_commands(&mut self) {
        let Party::Device(device) = &self.party else { return };
        let topic = topic::command(&device.thing);
        let now = Instant::now();
        for command in self.link.take_commands() {
            let Some(qos) = self.link.command_qos() else { continue };
            if self.is_slow() || command.expires.is_some_and(|at| at <= now) {
                continue;
            }
            let Command { payload, properties, expires, written } = command;
            let message = Message { topic: topic.clone(), payload, qos, properties, ..Message::default() };
            let post = Post::new(message, expires);
            let bounds = (COMMAND_WINDOW, self.window);
            let Some(packet_id) = self.mailbox.command(&self.link, &post, qos, bounds) else { continue };
            if self.speaker.command(&post, packet_id, now, &mut self.out) {
                self.unwritten.extend(written);
            } else if let Some(packet_id) = packet_id {
                self.mailbox.take_back(packet_id);
            }
        }
    }
}
