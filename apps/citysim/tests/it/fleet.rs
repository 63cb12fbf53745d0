//! The fleet against a broker of the test's own: a burst is told within seconds and mended by the
//! repair that is reported; silent and malformed devices do as they are told.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use citysim::city::{hydrants, write};
use citysim::fleet::{AnswerPace, Fleet, FleetConfig};
use serde_json::{Value, json};

use crate::broker::{Broker, Seen};

fn city(broker: &Broker, interval: Duration) -> (tempfile::TempDir, FleetConfig) {
    let folder = tempfile::tempdir().unwrap();
    let (city, secrets) = (folder.path().join("city"), folder.path().join("secrets.csv"));
    write(&city, None, Some(&secrets)).unwrap();
    let answers = AnswerPace { after: Duration::ZERO, within: Duration::from_millis(50), mute: 0.0 };
    let mqtt = broker.address;
    let config = FleetConfig { mqtt, city, secrets, interval, time_scale: 1.0, seed: 7, answers };
    (folder, config)
}

fn on(main: &str) -> Vec<String> {
    hydrants().into_iter().filter(|t| t.properties["main"] == main).map(|t| t.code).collect()
}

async fn all_listen(broker: &mut Broker) {
    let mut listening = HashSet::new();
    while listening.len() < 420 {
        let user = broker
            .next(|seen| match seen {
                Seen::Subscribe { user, filter } => {
                    assert_eq!(*filter, format!("zs/v1/{user}/command"));
                    Some(user.clone())
                }
                _ => None,
            })
            .await;
        listening.insert(user);
    }
}

/// Waits until each of `things` has sent `times` samples in a row for which `holds`.
async fn until_all(broker: &mut Broker, things: &[String], times: usize, holds: impl Fn(f64) -> bool) {
    let mut in_a_row: BTreeMap<String, usize> = things.iter().map(|t| (t.clone(), 0)).collect();
    while in_a_row.values().any(|n| *n < times) {
        let (user, value) = broker
            .next(|seen| match seen {
                Seen::Publish { user, topic, payload } if topic.ends_with("/pressure") => {
                    let sample: Value = serde_json::from_slice(payload).ok()?;
                    model::Micros::parse(sample["t"].as_str()?).unwrap();
                    Some((user.clone(), sample["v"].as_f64()?))
                }
                _ => None,
            })
            .await;
        if let Some(count) = in_a_row.get_mut(&user) {
            *count = if holds(value) { *count + 1 } else { 0 };
        }
    }
}

#[tokio::test]
async fn a_burst_is_told_by_exception_and_mended_by_the_reported_repair() {
    let mut broker = Broker::start(None).await;
    // The interval is far longer than the test: what comes, comes by exception.
    let (_folder, config) = city(&broker, Duration::from_secs(3600));
    let fleet = Fleet::start(&config).unwrap();
    let handle = fleet.handle();
    all_listen(&mut broker).await;
    let riser = on("riser-03-1");
    let start = Instant::now();
    handle
        .inject(&serde_json::from_value(json!({"kind": "burst", "target": "riser-03-1"})).unwrap())
        .unwrap();
    until_all(&mut broker, &riser, 2, |v| v < 0.20).await;
    assert!(start.elapsed() < Duration::from_secs(8), "two in a row after {:?}", start.elapsed());
    assert_eq!(handle.state().hydrants.below_0_20, 10);

    // Measuring alone mends nothing.
    broker.command(&riser[0], r#"{"command":"measure","correlation":"c-1"}"#);
    let reply = broker.sample(&format!("zs/v1/{}/reply", riser[0])).await;
    assert_eq!(reply["correlation"], "c-1");
    assert!(reply["v"].as_f64().unwrap() < 0.20 && reply["t"].is_string());
    let condition = || handle.state().mains.into_iter().find(|m| m.code == "riser-03-1").unwrap().condition;
    assert_eq!(condition(), "burst");

    let start = Instant::now();
    broker.command(&riser[0], r#"{"command":"measure","reason":"repair-reported","correlation":"c-2"}"#);
    until_all(&mut broker, &riser, 2, |v| v >= 0.22).await;
    assert!(start.elapsed() < Duration::from_secs(12), "clear after {:?}", start.elapsed());
    assert_eq!(handle.state().hydrants.below_0_20, 0);

    broker.command(&riser[1], r#"{"command":"dance","correlation":"c-3"}"#);
    let reply = broker.sample(&format!("zs/v1/{}/reply", riser[1])).await;
    assert!(reply["error"].as_str().unwrap().contains("dance"));
    fleet.stop().await;
    assert_eq!(handle.counts().connected, 0);
}

#[tokio::test]
async fn questions_are_answered_but_by_the_mute() {
    let mut broker = Broker::start(None).await;
    let (_folder, mut config) = city(&broker, Duration::from_secs(3600));
    config.answers.mute = 0.5;
    let fleet = Fleet::start(&config).unwrap();
    all_listen(&mut broker).await;
    let things: Vec<String> = hydrants().into_iter().map(|t| t.code).collect();
    for (n, thing) in things.iter().enumerate() {
        broker.command(thing, &json!({ "id": format!("q-{n}"), "ask": "pressure" }).to_string());
        broker.command(thing, &json!({ "id": format!("x-{n}"), "ask": "colour" }).to_string());
    }
    let reply = |seen: &Seen| match seen {
        Seen::Publish { user, topic, payload } if topic.ends_with("/reply") => {
            Some((user.clone(), serde_json::from_slice::<Value>(payload).unwrap()))
        }
        _ => None,
    };
    let mut answered: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    while answered.values().filter(|replies| replies.len() == 2).count() < 150 {
        let (user, answer) = broker.next(reply).await;
        answered.entry(user).or_default().push(answer);
    }
    // An order is answered by everybody, at once: by then every question has had its time.
    things.iter().for_each(|thing| broker.command(thing, r#"{"command":"dance","correlation":"c"}"#));
    let mut danced = 0;
    while danced < things.len() {
        let (user, answer) = broker.next(reply).await;
        if answer["correlation"] == "c" {
            danced += 1;
        } else {
            answered.entry(user).or_default().push(answer);
        }
    }
    for (thing, replies) in answered.iter().filter(|(_, replies)| replies.len() == 2) {
        let n = things.iter().position(|t| t == thing).unwrap();
        let of = |id: String| replies.iter().find(|reply| reply["id"] == id).unwrap();
        let value = of(format!("q-{n}"));
        assert!(value["v"].as_f64().unwrap() > 0.2 && value["t"].is_string(), "{value}");
        assert!(of(format!("x-{n}"))["error"].as_str().unwrap().contains("colour"));
    }
    // Half of 420, give or take.
    assert!(answered.len() < 265, "{} answered", answered.len());
    fleet.stop().await;
}

#[tokio::test]
async fn silent_and_malformed_devices_and_the_control_door() {
    let mut broker = Broker::start(None).await;
    let (_folder, config) = city(&broker, Duration::from_secs(1));
    let fleet = Fleet::start(&config).unwrap();
    let listener = citysim::control::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let door = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(citysim::control::serve(listener, fleet.handle()));
    let http = reqwest::Client::new();
    let post = async |path: &str, body: Value| {
        let answer = http.post(format!("{door}{path}")).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    all_listen(&mut broker).await;

    let fault = json!({"kind": "malformed", "target": "jz-h-0007", "duration": "30s"});
    assert_eq!(post("/faults", fault).await.0, 202);
    let unreadable = broker
        .next(|seen| match seen {
            Seen::Publish { user, payload, .. } if user == "jz-h-0007" => {
                let value = serde_json::from_slice::<Value>(payload).ok();
                value.is_none_or(|v| !v["v"].is_number()).then(|| payload.clone())
            }
            _ => None,
        })
        .await;
    assert!(!unreadable.is_empty());

    let fault = json!({"kind": "silent", "target": "jz-h-0100", "duration": "10m"});
    assert_eq!(post("/faults", fault).await.0, 202);
    // Samples from before the fault may still be under way: after three rounds of a neighbour
    // nothing more may come.
    let mut rounds = 0;
    let mut late = 0;
    while rounds < 5 {
        let user = broker
            .next(|seen| match seen {
                Seen::Publish { user, .. } if user == "jz-h-0100" || user == "jz-h-0101" => {
                    Some(user.clone())
                }
                _ => None,
            })
            .await;
        if user == "jz-h-0101" {
            rounds += 1;
        } else if rounds >= 3 {
            late += 1;
        }
    }
    assert_eq!(late, 0, "a silent device spoke");

    let state: Value = http.get(format!("{door}/state")).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&state["hydrants"]["total"], &state["hydrants"]["silent"], &state["hydrants"]["malformed"]),
        (&json!(420), &json!(1), &json!(1))
    );
    assert_eq!(state["mains"].as_array().unwrap().len(), 42);
    assert_eq!(post("/faults", json!({"kind": "burst", "target": "main-9"})).await.0, 404);
    assert_eq!(post("/faults", json!({"kind": "flood", "target": "main-1"})).await.0, 422);
    assert_eq!(post("/mains/main-9/repaired", json!({})).await.0, 404);
    assert_eq!(post("/mains/main-1/repaired", json!({})).await, (200, json!({"repaired": false})));
    assert_eq!(post("/faults", json!({"kind": "burst", "target": "main-1"})).await.0, 202);
    assert_eq!(post("/mains/main-1/repaired", json!({})).await, (200, json!({"repaired": true})));
    assert!(citysim::control::bind("0.0.0.0:0".parse().unwrap()).await.is_err());
    fleet.stop().await;
}
