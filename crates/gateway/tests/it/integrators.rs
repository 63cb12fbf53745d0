//! Who may hear and say what: devices, integrators, and the profile for tests.

use std::sync::Arc;

use async_trait::async_trait;
use gateway::{Gateway, GatewayConfig, MemoryBroker};
use model::DatastreamKey;
use model::observation::{Device, Devices, Integrator, Peer, quality};

use crate::conformance::raw::{Hello, Message, Plain, Raw, Takes, Will, profile};
use crate::harness::{Awaited, Heard, Hub, NOW, PRESSURE, Table, area};

async fn hub() -> Plain {
    Plain::with(|config| (config.anonymous, config.open_topics) = (false, false)).await
}

async fn join(hub: &Plain, name: &'static str, secret: &'static str, id: &str) -> Raw {
    hub.join(Hello { user: Some((name, secret)), ..Hello::durable(5, id) }).await.0
}

#[tokio::test]
async fn an_integrator_hears_the_things_of_its_areas_and_no_other() {
    let hub = hub().await;
    let mut reader = join(&hub, "any", "s-reader", "r").await;
    let mut city = join(&hub, "any", "s-city", "c").await;
    for raw in [&mut reader, &mut city] {
        let filters = [("zs/v1/#", 1), ("$share/g/zs/v1/+/level", 1), ("v1.1/#", 1)];
        assert_eq!(raw.subscribe(&filters).await, [1, 1, 1]);
    }
    let mut one = join(&hub, "h-1", "s-h-1", "d").await;
    let mut two = join(&hub, "h-2", "s-h-2", "d").await;
    one.tell("zs/v1/h-1/pressure", 1, "0.1").await;
    two.tell("zs/v1/h-2/pressure", 1, "0.2").await;
    one.tell("zs/v1/h-1/reply", 1, "{}").await;
    two.tell("v1.1/Datastreams(21)/Observations", 1, r#"{"result": 0.3}"#).await;
    assert_eq!(reader.payload().await, "0.1");
    assert_eq!(reader.payload().await, "{}");
    reader.quiet().await;
    for expected in ["0.1", "0.2", "{}", r#"{"result": 0.3}"#] {
        assert_eq!(city.payload().await, expected);
    }
    // In a group it goes to whoever may see it, whosever turn it is.
    for _ in 0..4 {
        two.tell("zs/v1/h-2/level", 1, "2").await;
        assert_eq!([city.payload().await, city.payload().await], ["2", "2"]);
    }
    reader.quiet().await;
}

#[tokio::test]
async fn retained_and_waiting_messages_are_judged_too() {
    let hub = hub().await;
    let mut two = join(&hub, "h-2", "s-h-2", "d").await;
    two.say(&Message::retained("zs/v1/h-2/pressure", "0.2")).await;
    let mut reader = join(&hub, "any", "s-reader", "r").await;
    reader.subscribe(&[("#", 1)]).await;
    reader.quiet().await;
    let mut city = join(&hub, "any", "s-city", "c").await;
    city.subscribe(&[("#", 1)]).await;
    assert_eq!(city.payload().await, "0.2");
}

#[tokio::test]
async fn an_integrator_writes_where_it_may() {
    let mut hub = Hub::start().await;
    let mut reader = hub.client_with("any", "s-reader", "r", 5).await;
    reader.publish(PRESSURE, Some(1), "0.5").await;
    reader.publish("v1.1/Datastreams(12)/Observations", Some(2), r#"{"result": 7}"#).await;
    let (samples, _) = hub.commit(2).await;
    assert_eq!((samples[0].datastream, samples[0].value), (DatastreamKey(11), 0.5));
    assert_eq!((samples[1].datastream, samples[1].value), (DatastreamKey(12), 7.0));
    for id in [1, 2] {
        assert_eq!(reader.heard().await, Heard::Ack(id, 0));
    }
    // Another area, another token, no such thing, a reply in a thing's name.
    let elsewhere = [
        "zs/v1/h-2/pressure",
        "zs/v1/h-9/pressure",
        "zs/v1/h-1/reply",
        "v1.1/Datastreams(21)/Observations",
        "x",
    ];
    let mut city = hub.client_with("any", "s-city", "c", 5).await;
    for topic in elsewhere {
        reader.publish(topic, Some(3), "1").await;
        assert_eq!(reader.heard().await, Heard::Ack(3, 0x87), "{topic}");
    }
    city.publish(PRESSURE, Some(3), "1").await;
    assert_eq!(city.heard().await, Heard::Ack(3, 0x87));
    // What cannot be read is kept under the thing it was for.
    reader.publish("zs/v1/h-1/command", Some(4), "{}").await;
    let (_, unreadable) = hub.commit(1).await;
    assert_eq!(unreadable[0].thing, "h-1");
    assert_eq!(reader.heard().await, Heard::Ack(4, 0x90));
}

#[tokio::test]
async fn a_subscriber_never_sees_what_is_not_stored() {
    let mut hub = Hub::start().await;
    let mut city = hub.client_with("any", "s-city", "c", 5).await;
    city.subscribe(&[("zs/v1/#", rmqtt_codec::types::QoS::AtLeastOnce)]).await;
    let mut device = hub.client(5).await;
    device.publish(PRESSURE, Some(1), "0.1").await;
    let begun = hub.begun().await;
    city.hears_nothing().await;
    begun.refuse();
    device.hears_the_end(0x89).await;
    city.hears_nothing().await;
    let mut device = hub.client(5).await;
    device.publish(PRESSURE, Some(1), "0.2").await;
    device.publish(PRESSURE, Some(2), "not a number").await;
    hub.commit(2).await;
    let heard = city.heard().await;
    assert!(
        matches!(heard, Heard::Publish(topic, 1, _, payload) if topic == PRESSURE && &payload[..] == b"0.2")
    );
    assert_eq!(device.heard().await, Heard::Ack(1, 0));
    assert_eq!(device.heard().await, Heard::Ack(2, 0x99));
    // What could not be read goes to nobody.
    city.hears_nothing().await;
}

#[tokio::test]
async fn sensorthings_observations_are_read() {
    let mut hub = Hub::start().await;
    let mut device = hub.client(5).await;
    let topic = "v1.1/Datastreams(11)/Observations";
    let table = [
        (
            r#"{"result": 0.5, "phenomenonTime": "2026-11-24T06:30:00Z", "resultTime": null}"#,
            0.5,
            -125_120_000,
            0,
        ),
        (r#"{"result": 1, "resultTime": "2026-11-24T06:31:00Z"}"#, 1.0, -65_120_000, 0),
        (r#"{"result": 2e0, "parameters": {"a": [1]}}"#, 2.0, 0, quality::TIME_OF_RECEIPT),
        (
            r#"{"result": 3, "phenomenonTime": "2026-11-25T00:00:00+08:00"}"#,
            3.0,
            34_074_880_000,
            quality::FROM_THE_FUTURE,
        ),
    ];
    for (payload, value, offset, flags) in table {
        device.publish(topic, Some(1), payload).await;
        let (samples, _) = hub.commit(1).await;
        let sample = samples[0];
        assert_eq!((sample.datastream, sample.value, sample.quality), (DatastreamKey(11), value, flags));
        assert_eq!(sample.time.since(NOW), offset, "{payload}");
        assert_eq!(device.heard().await, Heard::Ack(1, 0));
    }
    let unreadable = [
        ("", "payload is empty"),
        ("0.5", "payload is not an observation"),
        (r#"{"result": "high"}"#, "payload is not an observation"),
        (
            r#"{"phenomenonTime": "2026-11-24T06:30:00Z"}"#,
            "payload is not an observation: missing field `result`",
        ),
        (
            r#"{"result": 1, "phenomenonTime": "2026-11-24T06:30:00Z/2026-11-24T06:31:00Z"}"#,
            "payload is not an observation: time",
        ),
        (r#"{"result": 1e16}"#, "value 1e16"),
    ];
    for (payload, reason) in unreadable {
        device.publish(topic, Some(1), payload).await;
        let (_, kept) = hub.commit(1).await;
        assert!(kept[0].reason.starts_with(reason), "{}", kept[0].reason);
        assert_eq!(device.heard().await, Heard::Ack(1, 0x99));
    }
    device.publish("v1.1/Datastreams(21)/Observations", Some(1), r#"{"result": 1}"#).await;
    assert_eq!(device.heard().await, Heard::Ack(1, 0x87));
}

#[tokio::test]
async fn a_will_on_a_datastream_is_an_observation_and_elsewhere_a_message() {
    let hub = Hub::start().await;
    let (gateway, mut store) = (hub.gateway, hub.store);
    let hub = Plain { gateway };
    let will = |topic| Hello {
        user: Some(("h-1", "s-h-1")),
        will: Some(Will(topic, b"0", 1, false, vec![])),
        ..Hello::default()
    };
    let (mut city, _) = hub.join(Hello { user: Some(("any", "s-city")), ..Hello::durable(5, "c") }).await;
    city.subscribe(&[("zs/v1/#", 0)]).await;
    hub.join(will(PRESSURE)).await.0.vanish().await;
    let begun = store.recv().await.unwrap();
    city.quiet().await;
    let (samples, _) = begun.commit();
    assert_eq!((samples[0].datastream, samples[0].value), (DatastreamKey(11), 0.0));
    assert_eq!(city.message().await.topic, PRESSURE);
    hub.join(will("zs/v1/h-1/status")).await.0.vanish().await;
    assert_eq!(city.message().await.topic, "zs/v1/h-1/status");
    // Nobody else's, and no command.
    for topic in ["zs/v1/h-2/pressure", "status", "zs/v1/h-1/command", "zs/v1/h-1/other"] {
        let mut raw = hub.open(5).await;
        raw.send(&will(topic).bytes()).await;
        assert_eq!(raw.next().await.body, [0, 0x87, 0], "{topic}");
        assert!(raw.maybe().await.is_none());
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_connections_and_sessions() {
    let hub = hub().await;
    let mut here = join(&hub, "any", "s-city", "here").await;
    join(&hub, "any", "s-city", "away").await.leave().await;
    let mut other = join(&hub, "any", "s-reader", "here").await;
    assert_eq!(hub.gateway.integrators()("city"), 1);
    here.ended(0x98).await;
    other.quiet().await;
    for id in ["here", "away"] {
        let hello = Hello { user: Some(("any", "s-city")), ..Hello::durable(5, id) };
        assert!(!hub.join(hello).await.1.present());
    }
}

#[tokio::test]
async fn one_device_keeps_eight_sessions_and_leaves_room_for_others() {
    let hub = hub().await;
    for n in 0..8 {
        join(&hub, "h-1", "s-h-1", &n.to_string()).await.leave().await;
    }
    let mut raw = hub.open(5).await;
    raw.send(&Hello { user: Some(("h-1", "s-h-1")), ..Hello::durable(5, "9") }.bytes()).await;
    assert_eq!(raw.next().await.body, [0, 0x97, 0]);
    join(&hub, "h-2", "s-h-2", "9").await.leave().await;
    join(&hub, "h-1", "s-h-1", "7").await.leave().await;
}

#[tokio::test]
async fn a_client_id_is_of_its_owner() {
    let hub = hub().await;
    let mut device = join(&hub, "h-1", "s-h-1", "same").await;
    let mut integrator = join(&hub, "h-1", "s-city", "same").await;
    let mut other = join(&hub, "h-2", "s-h-2", "same").await;
    for raw in [&mut device, &mut integrator, &mut other] {
        raw.quiet().await;
    }
}

#[tokio::test]
async fn the_profile_for_tests_is_refused_beyond_loopback() {
    let anywhere = "0.0.0.0:0".parse().unwrap();
    let local = "127.0.0.1:0".parse().unwrap();
    let tls = crate::tls::server();
    let table = [
        (GatewayConfig { mqtt: anywhere, anonymous: true, ..GatewayConfig::default() }, false),
        (GatewayConfig { mqtt: anywhere, open_topics: true, ..GatewayConfig::default() }, false),
        (
            GatewayConfig {
                mqtt: local,
                mqtts: Some((anywhere, tls.clone())),
                anonymous: true,
                ..GatewayConfig::default()
            },
            false,
        ),
        (
            GatewayConfig {
                mqtt: local,
                mqtts: Some((local, tls)),
                anonymous: true,
                open_topics: true,
                ..GatewayConfig::default()
            },
            true,
        ),
        (GatewayConfig { mqtt: anywhere, ..GatewayConfig::default() }, true),
    ];
    for (config, good) in table {
        let checked = config.check();
        assert_eq!(checked.is_ok(), good, "{checked:?}");
        if let Err(error) = checked {
            assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
        }
    }
}

/// The same city, after the token `city` lost all areas but `50/1/`.
struct Narrowed;

#[async_trait]
impl Devices for Narrowed {
    async fn authenticate(&self, name: &str, secret: &[u8]) -> Option<Peer> {
        match Table.authenticate(name, secret).await? {
            Peer::Integrator(old) if old.name == "city" => {
                let new = Integrator { read: vec![area("50/1/")], ..(*old).clone() };
                Some(Peer::Integrator(Arc::new(new)))
            }
            other => Some(other),
        }
    }

    fn device(&self, thing: &str) -> Option<Arc<Device>> {
        Table.device(thing)
    }

    fn owner(&self, key: DatastreamKey) -> Option<Arc<Device>> {
        Table.owner(key)
    }
}

#[tokio::test]
async fn rights_hold_for_who_is_away_and_through_a_restart() {
    let config = || GatewayConfig { anonymous: false, open_topics: false, ..profile() };
    let store = Arc::new(MemoryBroker::default());
    let hub = Plain::over(config(), store.clone()).await;
    for secret in ["s-reader", "s-city"] {
        let mut raw = join(&hub, "any", secret, "away").await;
        assert_eq!(raw.subscribe(&[("zs/v1/#", 1)]).await, [1]);
        raw.leave().await;
    }
    hub.gateway.stop().await;

    let hub = Plain::over(config(), store.clone()).await;
    for (name, secret, topic) in
        [("h-1", "s-h-1", "zs/v1/h-1/pressure"), ("h-2", "s-h-2", "zs/v1/h-2/pressure")]
    {
        join(&hub, name, secret, "d").await.tell(topic, 1, name.trim_start_matches("h-")).await;
    }
    let mut reader = join(&hub, "any", "s-reader", "away").await;
    assert_eq!(reader.payload().await, "1");
    reader.quiet().await;
    drop(reader);
    hub.gateway.stop().await;

    // Both wait for the city; it may see only one of them any more.
    assert_eq!(store.image().deliveries.len(), 2);
    let gateway = Gateway::start(
        config(),
        Arc::new(Narrowed),
        Arc::new(Takes),
        Arc::<Awaited>::default(),
        store.clone(),
    )
    .await
    .unwrap();
    let hub = Plain { gateway };
    let mut city = join(&hub, "any", "s-city", "away").await;
    assert_eq!(city.payload().await, "1");
    city.quiet().await;
    drop(city);
    hub.gateway.stop().await;
    let left = store.image();
    assert!(left.deliveries.is_empty() && left.messages.is_empty(), "{left:?}");
}
