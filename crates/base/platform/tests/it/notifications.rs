//! Messages to people and systems: by which channel, in which order, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use model::{AreaPath, Id, Micros, Severity, Text};
use platform::http::routes;
use platform::notification::{
    Carrier, Channel, Contact, NotificationConfig, Notifications, Parcel, QuietHours, SendError, Telling,
    contact, tell,
};
use platform::testing::{as_caller, caller, person_on_duty, small_city, system};
use platform::{Platform, PlatformConfig};
use serde_json::{Value, json};
use store::testing::on_each;
use store::{Store, StoreError, new_id, now};

use crate::{get, read, send};

pub const ESTATE: &str = "50/500112/500112011/500112011014/jz/";
pub const S: i64 = Micros::SECOND;

/// A channel that does as it is told, and remembers what it was given.
#[derive(Default)]
pub struct Stub {
    pub error: Mutex<Option<SendError>>,
    pub sent: Mutex<Vec<Parcel>>,
    pub hangs: std::sync::atomic::AtomicBool,
}

impl Stub {
    pub fn failing(error: SendError) -> Arc<Self> {
        Arc::new(Self { error: Mutex::new(Some(error)), ..Self::default() })
    }

    pub fn keys(&self) -> Vec<Id> {
        self.sent.lock().unwrap().iter().map(|p| p.id).collect()
    }
}

#[async_trait]
impl Carrier for Stub {
    async fn send(&self, parcel: &Parcel) -> Result<Option<String>, SendError> {
        self.sent.lock().unwrap().push(parcel.clone());
        if self.hangs.load(std::sync::atomic::Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match &*self.error.lock().unwrap() {
            None => Ok(Some(format!("ref-{}", parcel.id))),
            Some(error) => Err(error.clone()),
        }
    }
}

pub async fn open(
    store: &Store,
    config: NotificationConfig,
    stubs: &[(Channel, Arc<Stub>)],
) -> (Arc<Platform>, tempfile::TempDir) {
    let carriers = stubs.iter().map(|(c, s)| (*c, s.clone() as Arc<dyn Carrier>)).collect::<BTreeMap<_, _>>();
    let notifications = Notifications::with_carriers(store.clone(), config, carriers);
    open_with(store, notifications).await
}

pub async fn open_with(store: &Store, notifications: Notifications) -> (Arc<Platform>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = PlatformConfig { files: folder.path().to_owned(), ..PlatformConfig::default() };
    let platform = Platform::open_with(store.clone(), &[], config, notifications).await.unwrap();
    (platform, folder)
}

/// No quiet hours: a test at night is a test by day.
pub fn awake() -> NotificationConfig {
    NotificationConfig { quiet: QuietHours::NONE, ..NotificationConfig::default() }
}

pub async fn person(store: &Store, login: &str, contact: Contact) -> Id {
    let id = person_on_duty(store, login, "property-duty", ESTATE).await;
    contact::set(store, &system(), id, contact).await.unwrap();
    id
}

pub fn reached(phone: Option<&str>, email: Option<&str>) -> Contact {
    Contact { phone: phone.map(Into::into), email: email.map(Into::into), ..Contact::default() }
}

pub fn telling(key: &str, people: &[(Id, &str)], severity: Severity) -> Telling {
    Telling {
        key: key.into(),
        case: "2026-1124-0007".into(),
        area: AreaPath::parse(ESTATE).unwrap(),
        severity: Some(severity),
        post: "property-duty".into(),
        people: people.iter().map(|(id, name)| (*id, (*name).to_owned())).collect(),
        title: Text::new("新任务", "New task"),
        body: Text::new("请尽快办理", "Please do it soon"),
        path: "/tasks/1".into(),
        channels: None,
    }
}

pub async fn say(platform: &Arc<Platform>, all: Vec<Telling>) {
    platform
        .store()
        .command::<_, (), StoreError, _>(
            &system(),
            "test:tell",
            (platform.clone(), all),
            |tx, (platform, all)| Box::pin(async move { platform.notifications().tell(tx, all).await }),
        )
        .await
        .unwrap();
}

/// An operator's view of the deliveries, oldest first: channel, state, tries, reason.
pub async fn deliveries(router: &axum::Router, query: &str) -> Vec<(String, String, i64, Option<String>)> {
    let (status, page) = get(router, &format!("/api/v1/notifications{query}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            let reason = d["reason"].as_str().map(ToOwned::to_owned);
            (text(&d["channel"]), text(&d["state"]), d["attempts"].as_i64().unwrap(), reason)
        })
        .collect();
    all.reverse();
    all
}

pub fn operator(platform: &Arc<Platform>) -> axum::Router {
    let permissions = ["notification:read", "notification:resend", "notification:manage"];
    as_caller(routes(platform.clone()), caller(new_id(), "operator", "50/500112/", &permissions))
}

async fn post(router: &axum::Router, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    read(send(router, request.body(Body::from(body.to_string())).unwrap()).await).await
}

fn row(
    channel: &str,
    state: &str,
    tries: i64,
    reason: Option<&str>,
) -> (String, String, i64, Option<String>) {
    (channel.into(), state.into(), tries, reason.map(ToOwned::to_owned))
}

#[tokio::test]
async fn a_dead_gateway_moves_the_message_on_within_the_declared_time_and_says_why() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Stub::failing(SendError::retry("the gateway is out of order"));
        let email = Arc::new(Stub::default());
        let (platform, _folder) =
            open(&store, awake(), &[(Channel::Sms, sms.clone()), (Channel::Email, email.clone())]).await;
        let wang = person(&store, "wang", reached(Some("13812345678"), Some("wang@example.org"))).await;
        say(&platform, vec![telling("task/1", &[(wang, "王强")], Severity::Red)]).await;
        let operator = operator(&platform);
        assert_eq!(
            deliveries(&operator, "").await,
            [row("in-page", "accepted", 0, None), row("sms", "waiting", 0, None)],
            "in the pages at once, e-mail not yet"
        );
        let notifications = platform.notifications();
        let start = now();
        let mut at = start;
        // Two minutes are declared: every half second a round, by a clock of the test's own.
        while email.keys().is_empty() {
            notifications.round(at).await.unwrap();
            at = at.plus(S / 2);
            assert!(at.since(start) < 125 * S, "the next channel is used within the declared time");
        }
        assert!(at.since(start) > 100 * S, "and not before it has failed for it");
        let reason = Some("the gateway is out of order");
        let tries = sms.keys().len() as i64;
        assert!((5..=10).contains(&tries), "{tries} tries");
        assert_eq!(
            deliveries(&operator, "").await,
            [
                row("in-page", "accepted", 0, None),
                row("sms", "failed", tries, reason),
                row("email", "accepted", 1, None),
            ]
        );
        assert!(sms.keys().windows(2).all(|k| k[0] == k[1]), "one idempotency key for all tries");
        assert_ne!(sms.keys()[0], email.keys()[0]);
        let sent = email.sent.lock().unwrap()[0].clone();
        assert_eq!((sent.address.as_str(), sent.recipient.as_str()), ("wang@example.org", "王强"));
        // The operator sees each try and its reason, and how the channel does.
        let (_, page) = get(&operator, "/api/v1/notifications?state=failed").await;
        let id = page["items"][0]["id"].as_str().unwrap();
        let (_, one) = get(&operator, &format!("/api/v1/notifications/{id}")).await;
        let seen = one["tries"].as_array().unwrap();
        assert_eq!(seen.len() as i64, tries);
        assert!(
            seen.iter().all(|t| t["reason"] == "the gateway is out of order" && t["outcome"] == "retryable")
        );
        assert_eq!(one["address"], "138****5678");
        let (_, channels) = get(&operator, "/api/v1/channels").await;
        let health = channels["items"].as_array().unwrap().iter().find(|c| c["channel"] == "sms").unwrap();
        assert_eq!(
            (&health["failed"], &health["last_reason"]),
            (&json!(1), &json!("the gateway is out of order"))
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_for_good_moves_on_at_once_and_at_the_end_is_dead_until_resent() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Stub::failing(SendError::last("no such number"));
        let email = Stub::failing(SendError::last("no such mailbox"));
        let (platform, _folder) =
            open(&store, awake(), &[(Channel::Sms, sms.clone()), (Channel::Email, email.clone())]).await;
        let wang = person(&store, "wang", reached(Some("13812345678"), Some("wang@example.org"))).await;
        say(&platform, vec![telling("task/1", &[(wang, "王强")], Severity::Yellow)]).await;
        let notifications = platform.notifications();
        assert_eq!(notifications.round(now()).await.unwrap(), 1);
        assert_eq!(notifications.round(now()).await.unwrap(), 1);
        assert_eq!(notifications.round(now().plus(Micros::DAY)).await.unwrap(), 0, "nothing is left to try");
        let operator = operator(&platform);
        let dead = [
            row("in-page", "accepted", 0, None),
            row("sms", "failed", 1, Some("no such number")),
            row("email", "dead", 1, Some("no such mailbox")),
        ];
        assert_eq!(deliveries(&operator, "").await, dead);
        // Not another's to send again, nor one that is not there; and then nothing is sent.
        let (_, page) = get(&operator, "/api/v1/notifications?state=dead,failed").await;
        let ids: Vec<Value> = page["items"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect();
        let elsewhere =
            caller(new_id(), "elsewhere", "50/500103/", &["notification:read", "notification:resend"]);
        let elsewhere = as_caller(routes(platform.clone()), elsewhere);
        for (router, body, expected) in [
            (&elsewhere, json!({ "ids": ids }), StatusCode::NOT_FOUND),
            (&operator, json!({ "ids": [ids[0], new_id()] }), StatusCode::NOT_FOUND),
            (&operator, json!({ "ids": [] }), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let (status, problem) = post(router, "/api/v1/notifications/resend", body).await;
            assert_eq!(status, expected, "{problem}");
        }
        assert_eq!(deliveries(&operator, "").await, dead);
        assert!(deliveries(&elsewhere, "").await.is_empty());
        // The mailbox is mended; both are sent again, under their keys.
        *email.error.lock().unwrap() = None;
        let (status, answer) = post(&operator, "/api/v1/notifications/resend", json!({ "ids": ids })).await;
        assert_eq!((status, &answer["resent"]), (StatusCode::OK, &json!(2)));
        assert_eq!(notifications.round(now()).await.unwrap(), 2);
        let after = deliveries(&operator, "").await;
        assert_eq!(after[2], row("email", "accepted", 2, None));
        assert_eq!(email.keys()[0], email.keys()[1]);
        // What was accepted is not sent a second time.
        let (_, answer) =
            post(&operator, "/api/v1/notifications/resend", json!({ "ids": [page["items"][0]["id"]] })).await;
        assert_eq!(answer["resent"], 0);
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_died_after_sending_sends_again_with_the_same_key() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Arc::new(Stub::default());
        sms.hangs.store(true, std::sync::atomic::Ordering::SeqCst);
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, sms.clone())]).await;
        let wang = person(&store, "wang", reached(Some("13812345678"), None)).await;
        say(&platform, vec![telling("task/1", &[(wang, "王强")], Severity::Red)]).await;
        // The far side has it, and the hub dies before it hears the answer.
        let at = now();
        tokio::select! {
            _ = platform.notifications().round(at) => panic!("the far side does not answer"),
            () = async { while sms.keys().is_empty() { tokio::task::yield_now().await } } => {}
        }
        let operator = operator(&platform);
        assert_eq!(deliveries(&operator, "?channel=sms").await, [row("sms", "sending", 1, None)]);
        let again = Arc::new(Stub::default());
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, again.clone())]).await;
        let notifications = platform.notifications();
        assert_eq!(notifications.round(at.plus(30 * S)).await.unwrap(), 0, "the claim still holds");
        assert_eq!(notifications.round(at.plus(61 * S)).await.unwrap(), 1);
        assert_eq!(sms.keys(), again.keys(), "the same idempotency key");
        assert_eq!(deliveries(&operator, "?channel=sms").await, [row("sms", "accepted", 2, None)]);
    })
    .await;
}

#[tokio::test]
async fn the_background_task_takes_up_what_a_dead_hub_had_in_hand() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Arc::new(Stub::default());
        sms.hangs.store(true, std::sync::atomic::Ordering::SeqCst);
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, sms.clone())]).await;
        let wang = person(&store, "wang", reached(Some("13812345678"), None)).await;
        say(&platform, vec![telling("task/1", &[(wang, "王强")], Severity::Red)]).await;
        assert_eq!(platform.notifications().claim(Channel::Sms, now(), 10).await.unwrap().len(), 1);
        let again = Arc::new(Stub::default());
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, again.clone())]).await;
        let running = platform.notifications().start();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let operator = operator(&platform);
        while deliveries(&operator, "?channel=sms").await != [row("sms", "accepted", 2, None)] {
            assert!(std::time::Instant::now() < until, "{:?}", deliveries(&operator, "").await);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // A message told while it runs is sent without being asked for.
        say(&platform, vec![telling("task/2", &[(wang, "王强")], Severity::Red)]).await;
        while again.keys().len() < 2 {
            assert!(std::time::Instant::now() < until, "the second message");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        platform.notifications().stop();
        running.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_destination_has_one_in_hand_and_the_gravest_goes_first() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Arc::new(Stub::default());
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, sms.clone())]).await;
        let wang = person(&store, "wang", reached(Some("13812345678"), None)).await;
        let li = person(&store, "li", reached(Some("13912345678"), None)).await;
        let both = [(wang, "王强"), (li, "李梅")];
        say(&platform, vec![telling("a", &both, Severity::Blue), telling("b", &both[..1], Severity::Red)])
            .await;
        let claimed = platform.notifications().claim(Channel::Sms, now(), 10).await.unwrap();
        let mut first: Vec<_> =
            claimed.iter().map(|c| (c.parcel.address.clone(), c.parcel.severity)).collect();
        first.sort();
        assert_eq!(
            first,
            [("13812345678".into(), Some(Severity::Red)), ("13912345678".into(), Some(Severity::Blue))]
        );
        assert!(platform.notifications().claim(Channel::Sms, now(), 10).await.unwrap().is_empty());
        for one in &claimed {
            platform.notifications().settle(one, Ok(None), now()).await.unwrap();
            // A second hand that comes too late changes nothing.
            platform.notifications().settle(one, Err(SendError::last("late")), now()).await.unwrap();
        }
        let last = platform.notifications().claim(Channel::Sms, now(), 10).await.unwrap();
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].parcel.severity, Some(Severity::Blue));
        let states: Vec<_> =
            deliveries(&operator(&platform), "?channel=sms").await.into_iter().map(|d| d.1).collect();
        assert_eq!(states.iter().filter(|s| *s == "accepted").count(), 2, "{states:?}");
    })
    .await;
}

#[tokio::test]
async fn quiet_hours_hold_back_yellow_and_blue_and_a_finished_task_is_told_nobody_any_more() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Arc::new(Stub::default());
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, sms.clone())]).await;
        // Quiet from an hour ago for two hours, whatever the time is now.
        let clock = |offset: i64| {
            let at = now().plus(offset).timestamp().to_zoned_datetime(store.time_zone().clone());
            at.strftime("%H:%M").to_string()
        };
        let quiet = format!("{}-{}", clock(-Micros::HOUR), clock(Micros::HOUR));
        let contact = Contact { quiet: Some(quiet), ..reached(Some("13812345678"), None) };
        let wang = person(&store, "wang", contact).await;
        for (key, severity) in
            [("r", Severity::Red), ("o", Severity::Orange), ("y", Severity::Yellow), ("b", Severity::Blue)]
        {
            say(&platform, vec![telling(key, &[(wang, "王强")], severity)]).await;
        }
        let operator = operator(&platform);
        let states: Vec<_> = deliveries(&operator, "?channel=sms").await.into_iter().map(|d| d.1).collect();
        assert_eq!(states, ["waiting", "waiting", "held", "held"]);
        let notifications = platform.notifications();
        for expected in [1, 1, 0] {
            assert_eq!(notifications.round(now()).await.unwrap(), expected, "one at a time to a destination");
        }
        store
            .command::<_, (), StoreError, _>(&system(), "test:withdraw", (), |tx, ()| {
                Box::pin(async move { tell::withdraw(tx, "b").await })
            })
            .await
            .unwrap();
        let morning = now().plus(2 * Micros::HOUR);
        assert_eq!(notifications.round(morning).await.unwrap(), 1);
        assert_eq!(notifications.round(morning).await.unwrap(), 0);
        let states: Vec<_> = deliveries(&operator, "?channel=sms").await.into_iter().map(|d| d.1).collect();
        assert_eq!(states, ["accepted", "accepted", "accepted", "withdrawn"]);
        assert_eq!(sms.keys().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_person_reads_the_own_messages_and_keeps_the_own_contact() {
    on_each(|store| async move {
        small_city(&store).await;
        let (platform, _folder) = open(&store, awake(), &[]).await;
        let wang = person(&store, "wang", Contact::default()).await;
        let li = person(&store, "li", Contact::default()).await;
        say(&platform, vec![telling("a", &[(wang, "王强"), (wang, "王强"), (li, "李梅")], Severity::Red)])
            .await;
        say(&platform, vec![telling("b", &[(wang, "王强")], Severity::Blue)]).await;
        let router = as_caller(routes(platform.clone()), caller(wang, "wang", ESTATE, &[]));
        let (_, inbox) = get(&router, "/api/v1/inbox").await;
        assert_eq!((inbox["items"].as_array().unwrap().len(), &inbox["unread"]), (2, &json!(2)), "{inbox}");
        assert_eq!(inbox["items"][0]["severity"], "blue", "newest first");
        let older = inbox["items"][1]["id"].clone();
        let (_, left) = post(&router, "/api/v1/inbox/read", json!({ "up_to": older })).await;
        assert_eq!(left["unread"], 1);
        let (_, left) = post(&router, "/api/v1/inbox/read", json!({})).await;
        assert_eq!(left["unread"], 0);
        let operator = operator(&platform);
        let (_, page) = get(&operator, &format!("/api/v1/notifications?person={wang}")).await;
        assert!(page["items"].as_array().unwrap().iter().all(|d| d["read_at"].is_string()), "{page}");

        let put = async |body: Value| {
            let request = Request::put("/api/v1/contact").header("content-type", "application/json");
            read(send(&router, request.body(Body::from(body.to_string())).unwrap()).await).await
        };
        let (status, kept) = put(json!({ "phone": "138 1234 5678", "quiet": "23:00-06:00" })).await;
        assert_eq!((status, &kept["phone"]), (StatusCode::OK, &json!("13812345678")));
        let (status, problem) = put(json!({ "email": "nobody" })).await;
        assert_eq!(
            (status, &problem["errors"][0]["path"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("/email"))
        );
        let (_, kept) = get(&router, "/api/v1/contact").await;
        assert_eq!(
            kept,
            json!({ "email": null, "phone": "13812345678", "wecom": null, "quiet": "23:00-06:00" })
        );
        // The list of deliveries is an operator's.
        let (status, _) = get(&router, "/api/v1/notifications").await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test]
async fn the_table_shows_formulas_and_runs_none_and_lists_are_filtered_and_paged() {
    on_each(|store| async move {
        small_city(&store).await;
        let sms = Stub::failing(SendError::last("=cmd|' /C calc'!A0"));
        let (platform, _folder) = open(&store, awake(), &[(Channel::Sms, sms)]).await;
        let wang = person(&store, "wang", reached(Some("+8613812345678"), None)).await;
        for key in ["a", "b", "c"] {
            say(&platform, vec![telling(key, &[(wang, "=王强")], Severity::Red)]).await;
        }
        for _ in 0..3 {
            platform.notifications().round(now()).await.unwrap();
        }
        let router = operator(&platform);
        let answer =
            send(&router, Request::get("/api/v1/notifications.csv?lang=en").body(Body::empty()).unwrap())
                .await;
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(
            text.contains("'=王强") && text.contains("'=cmd|") && text.contains("'+86138****5678"),
            "{text}"
        );
        assert!(!text.contains("13812345678"), "{text}");
        for (query, count) in [
            ("?state=dead", 3),
            ("?state=dead,accepted", 6),
            ("?channel=in-page", 3),
            ("?q=cmd", 3),
            ("?q=王强", 6),
            ("?q=nobody", 0),
            ("?case=2026-1124-0007", 6),
            ("?case=1", 0),
        ] {
            assert_eq!(deliveries(&router, query).await.len(), count, "{query}");
        }
        let (_, first) = get(&router, "/api/v1/notifications?limit=4").await;
        let (_, rest) =
            get(&router, &format!("/api/v1/notifications?limit=4&after={}", first["next"].as_str().unwrap()))
                .await;
        assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
        let (status, _) = get(&router, "/api/v1/notifications?state=lost").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    })
    .await;
}
