//! The scenarios that 5 adds.

use std::time::Duration;

use super::{A, A_B, A_C, Client, OTHER_C, by_qos, one_of_each_qos, retain_three};
use crate::conformance::raw::{Hello, Message, Packet, Plain, Will, expiry, four, named, two, user};

/// Long enough for an interval of one second to have passed.
const A_SECOND: Duration = Duration::from_millis(1300);

/// No Local, Retain As Published, and Retain Handling 1 and 2 of Subscription Options.
const NO_LOCAL: u8 = 0x04;
const AS_PUBLISHED: u8 = 0x08;
const ONLY_IF_NEW: u8 = 0x10;
const NONE_RETAINED: u8 = 0x20;

/// A property of CONNACK.
fn told(connack: &Packet, id: u8) -> Option<&[u8]> {
    let mut rest = connack.properties();
    while let Some((&found, after)) = rest.split_first() {
        let length = match found {
            0x11 | 0x27 => 4,
            0x13 | 0x21 | 0x22 => 2,
            0x12 => 2 + usize::from(u16::from_be_bytes([after[0], after[1]])),
            _ => panic!("property {found:#04x} of {connack:?}"),
        };
        if found == id {
            return Some(&after[..length]);
        }
        rest = &after[length..];
    }
    None
}

fn number(connack: &Packet, id: u8) -> Option<u16> {
    told(connack, id).map(|bytes| u16::from_be_bytes(bytes.try_into().unwrap()))
}

async fn with(hub: &Plain, id: &str, properties: Vec<u8>) -> (Client, Packet) {
    Client::join(hub, Hello { id: id.into(), properties, ..Hello::default() }).await
}

/// DISCONNECT 0 with a Session Expiry Interval.
async fn leave_for(mut client: Client, seconds: u32) {
    client.settle().await;
    let disconnect = [vec![0xE0, 7, 0, 5], expiry(seconds)].concat();
    client.raw.send(&disconnect).await;
    assert_eq!(client.raw.maybe().await, None);
}

#[tokio::test]
async fn a_session_lasts_as_long_as_connect_or_disconnect_said() {
    let hub = Plain::start().await;
    let join = async |clean, seconds| {
        let properties = expiry(seconds);
        let hello = Hello { clean, id: "myclientid".into(), properties, ..Hello::default() };
        let (mut client, connack) = Client::join(&hub, hello).await;
        client.subscribe(&[(A, 2)]).await;
        (client, connack.present())
    };
    let (client, present) = join(true, 0).await;
    assert!(!present);
    client.leave().await;
    let (client, present) = join(false, 0).await;
    assert!(!present, "it ended with its connection");
    client.leave().await;

    join(true, 1).await.0.leave().await;
    let (client, present) = join(false, 1).await;
    assert!(present, "within its second");
    client.leave().await;
    tokio::time::sleep(A_SECOND).await;
    let (client, present) = join(false, 1).await;
    assert!(!present, "its second is over");

    leave_for(client, 3600).await;
    tokio::time::sleep(A_SECOND).await;
    let (client, present) = join(false, 1).await;
    assert!(present, "DISCONNECT gave it an hour");
    leave_for(client, 0).await;
    assert!(!join(false, 1).await.1, "DISCONNECT ended it");
}

#[tokio::test]
async fn user_properties_arrive_with_every_qos() {
    let hub = Plain::start().await;
    let mut client = Client::clean(&hub, 5, "myclientid").await;
    client.subscribe(&[(A, 2)]).await;
    let properties = [user("a", "2"), user("c", "3")].concat();
    for qos in 0..3 {
        client.publish(Message::new(A, qos, 0, &format!("qos {qos}")).with(properties.clone())).await;
    }
    let got = client.hears(3).await;
    assert!(got.iter().all(|message| message.properties == properties), "{got:?}");
    assert_eq!(by_qos(got), one_of_each_qos());
}

#[tokio::test]
async fn payload_format_and_content_type_arrive_even_without_a_payload() {
    let hub = Plain::start().await;
    let mut client = Client::clean(&hub, 5, "myclientid").await;
    client.subscribe(&[(A, 2)]).await;
    let properties = [vec![0x01, 1], named(0x03, "My name")].concat();
    for qos in 0..3 {
        client.publish(Message::new(A, qos, 0, "").with(properties.clone())).await;
    }
    let got = client.hears(3).await;
    assert!(got.iter().all(|message| message.properties == properties), "{got:?}");
    assert_eq!(by_qos(got), [(0, String::new()), (1, String::new()), (2, String::new())]);
}

#[tokio::test]
async fn a_message_that_expired_before_its_reader_came_is_not_delivered() {
    let hub = Plain::start().await;
    let (mut reader, _) = with(&hub, "myclientid2", expiry(99_999)).await;
    reader.subscribe(&[(A, 2)]).await;
    // More than the hub keeps a session: it is cut down, not refused.
    leave_for(reader, 999_999_999).await;
    let mut client = Client::clean(&hub, 5, "myclientid").await;
    for seconds in [1, 60] {
        for qos in [1, 2] {
            let message = Message::new(A, qos, 0, &format!("{seconds} s")).with(four(0x02, seconds));
            client.publish(message).await;
        }
    }
    client.settle().await;
    tokio::time::sleep(A_SECOND).await;
    let (mut reader, present) = Client::durable(&hub, 5, "myclientid2").await;
    assert!(present);
    let got = reader.hears(2).await;
    for message in &got {
        let (id, left) = (message.properties[0], &message.properties[1..]);
        let left = u32::from_be_bytes(left.try_into().unwrap());
        assert!(id == 0x02 && left < 60, "{message:?}");
    }
    assert_eq!(by_qos(got), [(1, "60 s".to_owned()), (2, "60 s".to_owned())]);
}

#[tokio::test]
async fn the_options_of_a_subscription_hold() {
    let hub = Plain::start().await;
    // No Local: not to the one who said it.
    let mut one = Client::clean(&hub, 5, "myclientid").await;
    let mut two = Client::clean(&hub, 5, "myclientid2").await;
    one.subscribe(&[(A, 2 | NO_LOCAL)]).await;
    two.subscribe(&[(A, 2 | NO_LOCAL)]).await;
    one.say(A, 1, "not to me").await;
    one.hears(0).await;
    assert_eq!(by_qos(two.hears(1).await), [(1, "not to me".to_owned())]);
    one.leave().await;

    // Retain As Published: the flag as it was.
    let mut one = Client::clean(&hub, 5, "myclientid").await;
    one.subscribe(&[(A, 2 | AS_PUBLISHED)]).await;
    one.say(A, 1, "false").await;
    one.publish(Message { retain: true, ..Message::new(A, 1, 0, "true") }).await;
    let got = one.hears(2).await;
    assert_eq!((got[0].retain, got[1].retain), (false, true));
    one.leave().await;

    // Retain Handling: for a first and for a second SUBSCRIBE.
    let mut one = Client::clean(&hub, 5, "myclientid").await;
    retain_three(&mut one, &[]).await;
    one.leave().await;
    for (handling, first, second) in [(ONLY_IF_NEW, 3, 0), (NONE_RETAINED, 0, 0), (0, 3, 3)] {
        let mut one = Client::clean(&hub, 5, "myclientid").await;
        for expected in [first, second] {
            assert_eq!(one.subscribe(&[("+/+", 2 | handling)]).await, [2]);
            let got = by_qos(one.hears(expected).await);
            assert_eq!(got, one_of_each_qos()[..expected], "retain handling {handling:#04x}");
        }
        one.leave().await;
    }
}

#[tokio::test]
async fn a_client_without_an_id_is_told_the_one_it_got() {
    let hub = Plain::start().await;
    let (client, connack) = with(&hub, "", Vec::new()).await;
    assert!(told(&connack, 0x12).is_some_and(|id| id.len() > 2), "{connack:?}");
    client.leave().await;
}

#[tokio::test]
async fn a_message_names_every_subscription_it_came_by() {
    let hub = Plain::start().await;
    let mut one = Client::clean(&hub, 5, "myclientid").await;
    // 456,789, in three bytes.
    let long = [0x0B, 0xD5, 0xF0, 0x1B];
    one.subscribe_with(&long, &[(A, 2)]).await;
    let mut two = Client::clean(&hub, 5, "myclientid2").await;
    two.subscribe_with(&[0x0B, 2], &[(A, 2)]).await;
    two.subscribe_with(&[0x0B, 3], &[("TopicA/#", 2)]).await;
    two.say(A, 1, "numbered").await;
    let both = &two.hears(1).await[0].properties;
    assert!(*both == [0x0B, 2, 0x0B, 3] || *both == [0x0B, 3, 0x0B, 2], "{both:?}");
    assert_eq!(one.hears(1).await[0].properties, long);
}

#[tokio::test]
async fn a_question_carries_where_its_answer_goes() {
    let hub = Plain::start().await;
    let mut asking = Client::clean(&hub, 5, "myclientid").await;
    let mut answering = Client::clean(&hub, 5, "myclientid2").await;
    for client in [&mut asking, &mut answering] {
        client.subscribe(&[(A, 2 | NO_LOCAL)]).await;
    }
    let properties = [named(0x08, A), b"\x09\0\x03334".to_vec()].concat();
    asking.publish(Message::new(A, 1, 0, "question").with(properties.clone())).await;
    asking.settle().await;
    let question = answering.hears(1).await.remove(0);
    assert_eq!(question.properties, properties);
    // The answer goes back with the very properties of the question.
    answering.publish(Message::new(A, 1, 0, "answer").with(question.properties)).await;
    answering.settle().await;
    let answer = asking.hears(1).await.remove(0);
    assert_eq!((answer.payload.as_slice(), answer.properties), (&b"answer"[..], properties));
    answering.hears(0).await;
}

#[tokio::test]
async fn an_alias_of_the_client_stands_for_its_topic_until_the_connection_ends() {
    let hub = Plain::start().await;
    let aliased = |topic: &str, alias| Message::new(topic, 1, 0, "aliased").with(two(0x23, alias));
    let mut client = Client::clean(&hub, 5, "myclientid").await;
    client.publish(aliased(A, 0)).await;
    client.raw.ended(0x94).await;

    let (mut client, connack) = with(&hub, "myclientid", [two(0x22, 0), expiry(99_999)].concat()).await;
    assert!(number(&connack, 0x22).is_some_and(|most| most > 0), "{connack:?}");
    client.subscribe(&[(A, 2)]).await;
    for topic in [A, ""] {
        client.publish(aliased(topic, 1)).await;
        let got = client.hears(1).await;
        assert_eq!((got[0].topic.as_str(), got[0].properties.len()), (A, 0));
    }
    client.leave().await;

    let hello = Hello { clean: false, id: "myclientid".into(), ..Hello::default() };
    let (mut client, connack) = Client::join(&hub, hello).await;
    assert!(connack.present());
    client.say(A, 1, "the subscription stayed").await;
    client.hears(1).await;
    client.publish(aliased("", 1)).await;
    client.raw.ended(0x82).await;
}

#[tokio::test]
async fn an_alias_of_the_server_is_used_for_who_takes_one() {
    let hub = Plain::start().await;
    for (properties, takes) in [(two(0x22, 1), true), (Vec::new(), false), (two(0x22, 0), false)] {
        let (mut client, _) = with(&hub, "myclientid", properties).await;
        client.subscribe(&[(A, 2)]).await;
        for qos in 0..3 {
            client.say(A, qos, &format!("qos {qos}")).await;
        }
        let got = client.hears(3).await;
        for (at, message) in got.iter().enumerate() {
            assert_eq!(message.topic, if takes && at > 0 { "" } else { A });
            assert_eq!(message.properties, if takes { two(0x23, 1) } else { Vec::new() });
        }
        assert_eq!(by_qos(got), one_of_each_qos());
        client.leave().await;
    }
}

#[tokio::test]
async fn packets_are_kept_below_what_either_side_takes() {
    let hub = Plain::start().await;
    let (mut client, connack) = with(&hub, "myclientid", four(0x27, 64)).await;
    let most: [u8; 4] = told(&connack, 0x27).unwrap().try_into().unwrap();
    client.subscribe(&[(A, 2)]).await;
    client.say(A, 0, &"x".repeat(32)).await;
    client.said().await;
    assert_eq!(client.hears(1).await[0].payload.len(), 32);
    // Acknowledged to its publisher, and for its reader as good as sent.
    client.say(A, 1, &"x".repeat(64)).await;
    client.hears(0).await;
    client.say(A, 0, &"x".repeat(u32::from_be_bytes(most) as usize)).await;
    client.raw.ended(0x95).await;
}

#[tokio::test]
async fn the_server_may_ask_for_a_shorter_keep_alive() {
    let hub = Plain::start().await;
    for (asked, answer) in [(120, Some(60)), (0, Some(60)), (60, None), (5, None)] {
        let hello = Hello { keep_alive: asked, id: "myclientid".into(), ..Hello::default() };
        let (client, connack) = Client::join(&hub, hello).await;
        assert_eq!(number(&connack, 0x13), answer, "keep alive {asked}");
        client.leave().await;
    }
}

#[tokio::test]
async fn a_client_is_sent_no_more_than_it_takes_at_once() {
    let hub = Plain::start().await;
    let hello = Hello { properties: two(0x21, 2), id: "myclientid".into(), ..Hello::default() };
    let (mut raw, _) = hub.join(hello).await;
    raw.subscribe(&[(A, 2)]).await;
    for id in [1, 2, 3] {
        raw.publish(&Message::new(A, 1, id, &format!("message {id}"))).await;
    }
    // Its own three are acknowledged all the same.
    let (mut acknowledged, mut got) = (Vec::new(), Vec::new());
    while acknowledged.len() < 3 || got.len() < 2 {
        let packet = raw.next().await;
        if packet.first == 0x40 {
            acknowledged.push(packet.id());
        } else {
            got.push(packet.message(5));
        }
    }
    assert_eq!((acknowledged, got.len()), (vec![1, 2, 3], 2));
    raw.quiet().await;
    raw.ack(0x40, got[0].id.unwrap()).await;
    let third = raw.message().await;
    assert_eq!((third.payload.as_slice(), third.qos), (&b"message 3"[..], 1));
    raw.ack(0x40, got[1].id.unwrap()).await;
    raw.ack(0x40, third.id.unwrap()).await;
    raw.quiet().await;
}

#[tokio::test]
async fn a_client_that_sends_more_than_the_server_takes_at_once_is_told_0x93() {
    let hub = Plain::start().await;
    let (mut raw, connack) = hub.join(Hello { id: "myclientid".into(), ..Hello::default() }).await;
    let most = number(&connack, 0x21).unwrap();
    // It reads nothing meanwhile.
    for id in 1..=most + 1 {
        raw.publish(&Message::new(A, 2, id, &format!("message {id}"))).await;
    }
    let mut ids = 1..=most;
    let last = loop {
        let packet = raw.next().await;
        if packet.first != 0x50 {
            break packet;
        }
        assert_eq!(Some(packet.id()), ids.next());
        // Too late, and nobody minds.
        raw.try_send(&[0x62, 2, packet.body[0], packet.body[1]]).await;
    };
    assert_eq!(last, Packet { first: 0xE0, body: vec![0x93] });
    assert_eq!(raw.maybe().await, None);
}

#[tokio::test]
async fn a_will_waits_for_its_delay_or_for_the_end_of_the_session() {
    let hub = Plain::start().await;
    let mut watcher = Client::clean(&hub, 5, "myclientid2").await;
    watcher.subscribe(&[(A, 2)]).await;
    // Delay and expiry in seconds; whether the will comes at once; whether the session is left then.
    for (delay, seconds, at_once, left) in
        [(1, 3600, false, true), (3600, 0, true, false), (3600, 1, false, false)]
    {
        let will = Some(Will(A, b"the will", 2, false, four(0x18, delay)));
        let hello = Hello { will, id: "myclientid".into(), properties: expiry(seconds), ..Hello::default() };
        let (lost, connack) = Client::join(&hub, hello).await;
        assert!(!connack.present());
        lost.raw.vanish().await;
        if !at_once {
            watcher.hears(0).await;
        }
        let got = watcher.hears(1).await;
        assert_eq!((got[0].payload.as_slice(), got[0].qos), (&b"the will"[..], 2));
        let hello = Hello { clean: false, id: "myclientid".into(), ..Hello::default() };
        let (client, connack) = Client::join(&hub, hello).await;
        assert_eq!(connack.present(), left, "delay {delay}, expiry {seconds}");
        client.leave().await;
    }
}

#[tokio::test]
async fn a_group_gets_one_copy_and_everybody_else_their_own() {
    let hub = Plain::start().await;
    let mut one = Client::clean(&hub, 5, "myclientid").await;
    let mut two = Client::clean(&hub, 5, "myclientid2").await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.subscribe(&[("$share/sharename/x", 2), (A, 2)]).await, [2, 2]);
    }
    for topic in [A, "x", A_B, "x", OTHER_C, A_C] {
        two.say(topic, 0, topic).await;
    }
    two.said().await;
    one.settle().await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.heard.iter().filter(|message| message.topic == A).count(), 1);
    }
    let shared = one.heard.iter().chain(&two.heard).filter(|message| message.topic == "x").count();
    assert_eq!((shared, one.heard.len() + two.heard.len()), (2, 4));
}
