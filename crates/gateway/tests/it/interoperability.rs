//! The scenarios by which a public suite (Eclipse Paho's interoperability tests) tries a broker, told
//! in our own words: clients that answer whatever they are sent, as those of a library do. Those of
//! both versions are here, those that 5 adds in [`five`].

mod five;

use std::collections::BTreeSet;

use crate::conformance::raw::{Hello, Message, Packet, Plain, Raw, Will, packet, sized, text, user};

// Topics of the shapes that a matcher may get wrong: one that is the parent of two others, one that
// only looks like it, and one with an empty first level.
const A: &str = "TopicA";
const A_B: &str = "TopicA/B";
const OTHER_C: &str = "Topic/C";
const A_C: &str = "TopicA/C";
const SLASH_A: &str = "/TopicA";

/// A client that acknowledges what it is sent and remembers it.
struct Client {
    raw: Raw,
    heard: Vec<Message>,
    /// Own publications without their last acknowledgement.
    saying: BTreeSet<u16>,
    /// QoS 2 messages whose PUBREL has not come.
    hearing: BTreeSet<u16>,
    packet_id: u16,
    /// It neither heeds nor acknowledges messages.
    deaf: bool,
}

impl Client {
    async fn join(hub: &Plain, hello: Hello) -> (Self, Packet) {
        let (raw, connack) = hub.join(hello).await;
        let (saying, hearing) = (BTreeSet::new(), BTreeSet::new());
        (Self { raw, heard: Vec::new(), saying, hearing, packet_id: 0, deaf: false }, connack)
    }

    /// With a session of its own that ends with the connection.
    async fn clean(hub: &Plain, version: u8, id: &str) -> Self {
        let (client, connack) = Self::join(hub, Hello { version, id: id.into(), ..Hello::default() }).await;
        assert!(!connack.present());
        client
    }

    /// With a session that stays; whether it was there.
    async fn durable(hub: &Plain, version: u8, id: &str) -> (Self, bool) {
        let (client, connack) = Self::join(hub, Hello::durable(version, id)).await;
        (client, connack.present())
    }

    /// Answers one packet, and says which it was.
    async fn take(&mut self) -> Packet {
        let packet = self.raw.next().await;
        match packet.first >> 4 {
            3 if self.deaf => {}
            3 => {
                let message = packet.message(self.raw.version);
                match (message.qos, message.id) {
                    (1, Some(id)) => self.raw.ack(0x40, id).await,
                    (2, Some(id)) => {
                        self.hearing.insert(id);
                        self.raw.ack(0x50, id).await;
                    }
                    _ => {}
                }
                self.heard.push(message);
            }
            4 | 7 => assert!(self.saying.remove(&packet.id()), "for nothing that was said: {packet:?}"),
            5 => self.raw.ack(0x62, packet.id()).await,
            6 => {
                self.hearing.remove(&packet.id());
                self.raw.ack(0x70, packet.id()).await;
            }
            9 | 11 | 13 => {}
            _ => panic!("not to be expected: {packet:?}"),
        }
        packet
    }

    /// Everything said is acknowledged, every handshake done, and what was routed is here.
    async fn settle(&mut self) {
        loop {
            while !self.saying.is_empty() || !self.hearing.is_empty() {
                self.take().await;
            }
            // What was routed before was sent before the second answer.
            for _ in 0..2 {
                self.raw.send(&[0xC0, 0]).await;
                while self.take().await.first != 0xD0 {}
            }
            if self.hearing.is_empty() {
                return;
            }
        }
    }

    /// Exactly `n` messages that were not taken before.
    async fn hears(&mut self, n: usize) -> Vec<Message> {
        while self.heard.len() < n {
            self.take().await;
        }
        self.settle().await;
        assert_eq!(self.heard.len(), n, "{:?}", self.heard);
        std::mem::take(&mut self.heard)
    }

    async fn publish(&mut self, mut message: Message) {
        if message.qos > 0 {
            self.packet_id += 1;
            message.id = Some(self.packet_id);
            self.saying.insert(self.packet_id);
        }
        self.raw.publish(&message).await;
    }

    async fn say(&mut self, topic: &str, qos: u8, payload: &str) {
        self.publish(Message::new(topic, qos, 0, payload)).await;
    }

    /// What was said before is routed, QoS 0 included: one client's messages keep their order.
    async fn said(&mut self) {
        self.say("nobody/listens/here", 1, "").await;
        self.settle().await;
    }

    async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(&[], filters).await
    }

    async fn subscribe_with(&mut self, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        let filters = filters.iter().flat_map(|(filter, options)| [text(filter), vec![*options]].concat());
        self.ask(0x82, properties, filters.collect()).await
    }

    async fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        self.ask(0xA2, &[], text(filter)).await
    }

    /// SUBSCRIBE or UNSUBSCRIBE; the codes of its answer.
    async fn ask(&mut self, first: u8, properties: &[u8], filters: Vec<u8>) -> Vec<u8> {
        self.packet_id += 1;
        let mut body = self.packet_id.to_be_bytes().to_vec();
        if self.raw.version == 5 {
            body.extend(sized(properties));
        }
        body.extend(filters);
        self.raw.send(&packet(first, &body)).await;
        loop {
            let packet = self.take().await;
            if packet.first == (first & 0xF0) + 0x10 {
                assert_eq!(packet.id(), self.packet_id);
                return packet.body[if self.raw.version == 5 { 3 } else { 2 }..].to_vec();
            }
        }
    }

    async fn leave(mut self) {
        self.settle().await;
        self.raw.leave().await;
    }
}

/// Payloads in the order of their QoS.
fn by_qos(mut messages: Vec<Message>) -> Vec<(u8, String)> {
    messages.sort_by_key(|message| message.qos);
    messages.into_iter().map(|m| (m.qos, String::from_utf8(m.payload).unwrap())).collect()
}

fn one_of_each_qos() -> Vec<(u8, String)> {
    (0..3).map(|qos| (qos, format!("qos {qos}"))).collect()
}

/// One retained message of each QoS, on three topics of two levels.
async fn retain_three(client: &mut Client, properties: &[u8]) {
    for (topic, qos) in [(A_B, 0), (OTHER_C, 1), (A_C, 2)] {
        let message = Message::new(topic, qos, 0, &format!("qos {qos}")).with(properties.to_vec());
        client.publish(Message { retain: true, ..message }).await;
    }
    client.said().await;
}

#[tokio::test]
async fn a_client_hears_itself_in_every_qos_and_connects_once_by_the_right_name() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        Client::clean(&hub, version, "myclientid").await.leave().await;
        let mut client = Client::clean(&hub, version, "myclientid").await;
        assert_eq!(client.subscribe(&[(A, 2)]).await, [2]);
        for qos in 0..3 {
            client.say(A, qos, &format!("qos {qos}")).await;
        }
        assert_eq!(by_qos(client.hears(3).await), one_of_each_qos());
        client.raw.send(&Hello { version, id: "myclientid".into(), ..Hello::default() }.bytes()).await;
        client.raw.ended(0x82).await;

        let mut raw = hub.open(version).await;
        let after_name = if version == 5 { vec![5, 2, 0, 0, 0] } else { vec![4, 2, 0, 0] };
        raw.send(&packet(0x10, &[text("hj"), after_name, text("myclientid")].concat())).await;
        assert_eq!(raw.maybe().await, None);
    }
}

#[tokio::test]
async fn retained_messages_go_to_a_later_subscription_until_empty_ones_remove_them() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let properties = if version == 5 { [user("a", "2"), user("c", "3")].concat() } else { Vec::new() };
        let mut client = Client::clean(&hub, version, "myclientid").await;
        retain_three(&mut client, &properties).await;
        client.subscribe(&[("+/+", 2)]).await;
        let got = client.hears(3).await;
        assert!(got.iter().all(|message| message.retain && message.properties == properties), "{got:?}");
        assert_eq!(by_qos(got), one_of_each_qos());
        client.leave().await;

        let mut client = Client::clean(&hub, version, "myclientid").await;
        for (topic, qos) in [(A_B, 0), (OTHER_C, 1), (A_C, 2)] {
            client.publish(Message { retain: true, ..Message::new(topic, qos, 0, "") }).await;
        }
        client.said().await;
        client.subscribe(&[("+/+", 2)]).await;
        client.hears(0).await;
    }
}

/// The suite tidies up like this before and after its tests.
#[tokio::test]
async fn who_subscribes_to_everything_can_clear_everything_that_is_retained() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let mut client = Client::clean(&hub, version, "myclientid").await;
        for (topic, qos) in [(A, 0), (A_B, 1), (OTHER_C, 2), (A_C, 0), (SLASH_A, 1)] {
            client.publish(Message { retain: true, ..Message::new(topic, qos, 0, "kept") }).await;
        }
        client.said().await;
        let mut sweeper = Client::clean(&hub, version, "clean retained").await;
        sweeper.subscribe(&[("#", 0)]).await;
        for message in sweeper.hears(5).await {
            assert!(message.retain && message.qos == 0);
            sweeper.publish(Message { retain: true, ..Message::new(&message.topic, 0, 0, "") }).await;
        }
        sweeper.said().await;
        client.subscribe(&[("#", 2)]).await;
        client.hears(0).await;
    }
}

#[tokio::test]
async fn a_client_that_is_cut_off_leaves_its_will() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let properties = if version == 5 { [user("a", "2"), user("c", "3")].concat() } else { Vec::new() };
        let will = Will(OTHER_C, b"client not disconnected", 2, false, properties.clone());
        let hello = Hello { version, id: "myclientid".into(), will: Some(will), ..Hello::default() };
        let (lost, _) = Client::join(&hub, hello).await;
        let (mut watcher, present) = Client::durable(&hub, version, "myclientid2").await;
        assert!(!present);
        watcher.subscribe(&[(OTHER_C, 2)]).await;
        watcher.hears(0).await;
        lost.raw.vanish().await;
        let got = watcher.hears(1).await;
        assert_eq!((got[0].payload.as_slice(), got[0].qos), (&b"client not disconnected"[..], 2));
        assert_eq!(got[0].properties, properties);
    }
}

#[tokio::test]
async fn an_empty_client_id_is_taken_with_a_clean_session_and_by_5_without() {
    let hub = Plain::start().await;
    for (version, clean) in [(4, true), (5, true), (5, false)] {
        let (client, connack) =
            Client::join(&hub, Hello { version, clean, id: String::new(), ..Hello::default() }).await;
        assert!(!connack.present());
        client.leave().await;
    }
    let mut raw = hub.open(4).await;
    raw.send(&Hello { version: 4, clean: false, id: String::new(), ..Hello::default() }.bytes()).await;
    assert_eq!(raw.next().await, Packet { first: 0x20, body: vec![0, 2] });
    assert_eq!(raw.maybe().await, None);
}

#[tokio::test]
async fn messages_wait_for_a_client_that_is_away() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let (mut client, present) = Client::durable(&hub, version, "myclientid").await;
        assert!(!present);
        client.subscribe(&[("+/+", 2)]).await;
        client.leave().await;
        let mut other = Client::clean(&hub, version, "myclientid2").await;
        for (topic, qos) in [(A_B, 0), (OTHER_C, 1), (A_C, 2)] {
            other.say(topic, qos, &format!("qos {qos}")).await;
        }
        other.leave().await;
        let (mut client, present) = Client::durable(&hub, version, "myclientid").await;
        assert!(present);
        // QoS 0 does not wait: the suite takes two or three of them.
        assert_eq!(by_qos(client.hears(2).await), one_of_each_qos()[1..]);
    }
}

#[tokio::test]
async fn subscriptions_that_overlap_give_one_message_at_the_highest_qos() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let mut client = Client::clean(&hub, version, "myclientid").await;
        assert_eq!(client.subscribe(&[("TopicA/#", 2), ("TopicA/+", 1)]).await, [2, 1]);
        client.say(A_C, 2, "overlapping").await;
        assert_eq!(by_qos(client.hears(1).await), [(2, "overlapping".to_owned())]);
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_is_cut_off_and_leaves_its_will() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let will = Some(Will(SLASH_A, b"silent", 2, false, Vec::new()));
        let hello = Hello { version, id: "myclientid".into(), keep_alive: 1, will, ..Hello::default() };
        let (mut silent, _) = Client::join(&hub, hello).await;
        let hello = Hello { version, id: "myclientid2".into(), keep_alive: 0, ..Hello::default() };
        let (mut watcher, _) = Client::join(&hub, hello).await;
        watcher.subscribe(&[(SLASH_A, 2)]).await;
        silent.raw.ended(0x8D).await;
        assert_eq!(by_qos(watcher.hears(1).await), [(2, "silent".to_owned())]);
    }
}

#[tokio::test]
async fn what_a_client_did_not_acknowledge_comes_again_when_it_is_back() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let (mut client, _) = Client::durable(&hub, version, "myclientid2").await;
        client.subscribe(&[("TopicA/#", 2)]).await;
        client.deaf = true;
        client.say(A_B, 1, "").await;
        client.say(A_C, 2, "").await;
        client.leave().await;
        let (mut client, present) = Client::durable(&hub, version, "myclientid2").await;
        assert!(present);
        let got = client.hears(2).await;
        let got: Vec<_> = got.iter().map(|m| (m.topic.as_str(), m.qos, m.dup)).collect();
        assert_eq!(got, [(A_B, 1, true), (A_C, 2, true)]);
        client.leave().await;
        let (mut client, _) = Client::durable(&hub, version, "myclientid2").await;
        client.hears(0).await;
    }
}

#[tokio::test]
async fn a_subscription_that_is_refused_is_told_by_0x80() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut client = Client::clean(&hub, version, "myclientid").await;
        for filter in ["nosubscribe", "test/nosubscribe", "$share/group/test/nosubscribe"] {
            assert_eq!(client.subscribe(&[(filter, 2), ("test/subscribe", 2)]).await, [0x80, 2]);
        }
        client.say("test/nosubscribe", 1, "unheard").await;
        client.say("test/subscribe", 1, "heard").await;
        assert_eq!(by_qos(client.hears(1).await), [(1, "heard".to_owned())]);
    }
}

#[tokio::test]
async fn a_wildcard_in_front_does_not_match_a_topic_that_begins_with_a_dollar() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let hello = Hello { version, id: "myclientid2".into(), keep_alive: 0, ..Hello::default() };
        let (mut client, _) = Client::join(&hub, hello).await;
        client.subscribe(&[("+/+", 2), ("#", 2)]).await;
        let mut exact = Client::clean(&hub, version, "myclientid").await;
        exact.subscribe(&[("$TopicA/+", 2)]).await;
        client.say("$TopicA/B", 1, "dollar").await;
        client.hears(0).await;
        assert_eq!(by_qos(exact.hears(1).await), [(1, "dollar".to_owned())]);
    }
}

#[tokio::test]
async fn after_unsubscribe_only_the_other_topics_are_heard() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let mut client = Client::clean(&hub, version, "myclientid2").await;
        for topic in [A, A_B, OTHER_C] {
            assert_eq!(client.subscribe(&[(topic, 2)]).await, [2]);
        }
        assert_eq!(client.unsubscribe(A).await, if version == 5 { vec![0] } else { Vec::new() });
        let mut other = Client::clean(&hub, version, "myclientid").await;
        for topic in [A, A_B, OTHER_C] {
            other.say(topic, 1, topic).await;
        }
        other.settle().await;
        let got = client.hears(2).await;
        assert_eq!((got[0].topic.as_str(), got[1].topic.as_str()), (A_B, OTHER_C));
    }
}
