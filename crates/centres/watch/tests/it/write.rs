//! What Telegraf and InfluxDB's clients write, as they write it.

use std::io::Write as _;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use model::observation::{BATCH_CAP, Devices as _, Peer, Sample, quality};
use model::{AreaPath, DatastreamKey};
use platform::testing::system;
use platform::token::NewToken;
use tower::ServiceExt as _;

use crate::{ESTATE, Hub, on_each, pack};

/// An instant, in seconds and in microseconds.
const T: i64 = 1_795_501_925;
const T_US: i64 = T * 1_000_000;

struct Answer {
    status: StatusCode,
    text: String,
    headers: axum::http::HeaderMap,
}

struct Client<'h> {
    hub: &'h Hub,
    router: Router,
    secret: String,
}

impl<'h> Client<'h> {
    /// A client with a token that writes in `area`.
    async fn new(hub: &'h Hub, name: &str, area: &str, thing_tag: Option<&str>) -> Self {
        let new = NewToken {
            name: name.into(),
            area: AreaPath::parse(area).unwrap(),
            read: false,
            write: true,
            thing_tag: thing_tag.map(Into::into),
            expires_at: None,
        };
        let secret = hub.platform.create_token(&system(), new).await.unwrap();
        let router = watch::http::routes(hub.watch.clone()).split().0;
        let router = router.layer(from_fn_with_state(hub.platform.clone(), platform::http::identify));
        Self { hub, router, secret }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).header(header::AUTHORIZATION, format!("Token {}", self.secret));
        self.send(request.body(body.into()).unwrap()).await
    }

    /// The samples that a body leaves behind, as key, microseconds, value, quality.
    async fn stored(&self, path: &str, body: &str) -> (Answer, Vec<(i32, i64, f64, u8)>) {
        let before = self.hub.lake.last_seq().await;
        let answer = self.post(path, body.to_owned()).await;
        let segments = self.hub.lake.segments_after(before, 100).await.unwrap();
        let samples = segments.into_iter().flatten().flat_map(|s| s.rows.iter().collect::<Vec<Sample>>());
        let mut samples: Vec<_> = samples.map(|s| (s.datastream.0, s.time.0, s.value, s.quality)).collect();
        samples.sort_by_key(|s| (s.0, s.1));
        (answer, samples)
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn good_lines_are_stored_where_they_mean() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let client = Client::new(&hub, "telegraf", "50/500112/", None).await;
        for (path, body, expected) in [
            // The measurement names the datastream of a field `value`.
            (
                "/api/v2/write?precision=s",
                format!("pressure,thing=h-1 value=0.3 {T}"),
                vec![(1, T_US, 0.3, 0)],
            ),
            (
                "/write?db=x&precision=s",
                format!("pressure,thing=h-1,zone=a value=0.31 {}", T + 1),
                vec![(1, T_US + 1_000_000, 0.31, 0)],
            ),
            // Other fields name it themselves; integers and booleans are numbers.
            ("/write?precision=s", format!("any,thing=h-2 pressure=1i {T}"), vec![(2, T_US, 1.0, 0)]),
            (
                "/write?precision=ms",
                format!("any,thing=h-2 pressure=f {}123", T),
                vec![(2, T_US + 123_000, 0.0, 0)],
            ),
            (
                "/write",
                format!("any,thing=h-2 pressure=2u {}000200999", T + 1),
                vec![(2, T_US + 1_000_200, 2.0, 0)],
            ),
            // Units are turned into the datastream's, to the last digit.
            (
                "/api/v2/write?precision=s",
                format!("p,thing=h-3,unit=kPa pressure=187 {T}"),
                vec![(3, T_US, 0.187, 0)],
            ),
            (
                "/api/v2/write?precision=s",
                format!("p,thing=h-3,unit=MPa pressure=0.2 {}", T + 1),
                vec![(3, T_US + 1_000_000, 0.2, 0)],
            ),
            // Several lines, comments, blanks, CRLF.
            (
                "/api/v2/write?precision=us",
                format!(
                    "# x\r\npressure,thing=h-1 value=1 {}\r\n\r\npressure,thing=h-2 value=2 {}\r\n",
                    T_US + 5_000_000,
                    T_US + 5_000_000
                ),
                vec![(1, T_US + 5_000_000, 1.0, 0), (2, T_US + 5_000_000, 2.0, 0)],
            ),
            ("/write", "# nothing\n".to_owned(), vec![]),
        ] {
            let (answer, samples) = client.stored(path, &body).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""), "{body}");
            assert_eq!(samples, expected, "{body}");
        }
        // Without a timestamp the time of receipt stands in and the sample says so.
        let (answer, samples) = client.stored("/write", "pressure,thing=h-1 value=0.3").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let (key, time, _, flags) = samples[0];
        assert_eq!((key, flags & quality::TIME_OF_RECEIPT), (1, quality::TIME_OF_RECEIPT));
        assert!((store::now().0 - time).abs() < 60_000_000);
        // Telegraf names the thing by its host.
        let telegraf = Client::new(&hub, "hosts", "50/500112/", Some("host")).await;
        let (answer, samples) =
            telegraf.stored("/write?precision=s", &format!("pressure,host=h-1 value=0.4 {}", T + 9)).await;
        assert_eq!((answer.status, samples.len()), (StatusCode::NO_CONTENT, 1));
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_told_and_the_rest_is_stored() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        // Only building 2: h-3.
        let client = Client::new(&hub, "building", &format!("{ESTATE}jz-02/"), None).await;
        let far = "pressure,thing=h-3 value=0.3 99999999999999";
        for (line, reason, dropped) in [
            ("pressure,thing=h-9 value=1", "no thing \"h-9\" in the areas that the token may write", 1),
            // Another's area is not told apart from what is not there.
            ("pressure,thing=h-1 value=1", "no thing \"h-1\" in the areas that the token may write", 1),
            ("pressure value=1", "no tag \"thing\" names the thing", 1),
            ("flow,thing=h-3 value=1", "the measurement, which names the datastream of a field \"value\", is no datastream of thing \"h-3\"; known are pressure", 1),
            ("p,thing=h-3 flow=1,depth=2", "field \"flow\" is no datastream of thing \"h-3\"; known are pressure\nfield \"depth\" is", 2),
            ("p,thing=h-3 pressure=\"low\"", "field \"pressure\" is a string; datastreams hold numbers", 1),
            ("p,thing=h-3 pressure=2e15", "field \"pressure\": value beyond ±1e15 (line 2)", 1),
            ("p,thing=h-3,unit=Cel pressure=2", "field \"pressure\": a value in \"Cel\" does not turn into \"MPa\": they measure different quantities", 1),
            ("p,thing=h-3,unit=psig pressure=2", "field \"pressure\": unit \"psig\" does not read: no unit \"psig\" is known", 1),
            (far, "time outside range 1970 to 9999 (is the precision right?)", 1),
            ("pressure,thing=h-3", "unable to parse 'pressure,thing=h-3': missing fields (line 2, column 19)", 1),
            ("pressure,thing= value=1", "unable to parse 'pressure,thing= value=1': missing tag value (line 2, column 10)", 1),
        ] {
            let body = format!("pressure,thing=h-3 value=0.25 {T}\n{line}\npressure,thing=h-3 value=0.26 {}\n", T + 1);
            let (answer, samples) = client.stored("/api/v2/write?precision=s", &body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{line}");
            let error: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!(error["code"], "invalid");
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("partial write: {reason}")), "{line}: {message}");
            assert!(message.ends_with(&format!(" dropped={dropped}")), "{line}: {message}");
            let values: Vec<f64> = samples.iter().map(|s| s.2).collect();
            assert_eq!(values, [0.25, 0.26], "the others are stored: {line}");
            // The same in the shape of 1.x, and with what was found kept from before.
            let (answer, samples) = client.stored("/write?precision=s", &body).await;
            let error: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!((answer.status, samples.len()), (StatusCode::BAD_REQUEST, 2));
            assert_eq!(error["error"], message);
            assert!(answer.headers["x-influxdb-error"].to_str().unwrap().starts_with("partial write: "));
        }
        // Nothing partial about a body of which no line reads.
        let (answer, samples) = client.stored("/write", "cpu\n").await;
        assert_eq!((answer.status, samples.len()), (StatusCode::BAD_REQUEST, 0));
        assert_eq!(answer.text, r#"{"error":"unable to parse 'cpu': missing fields (line 1, column 4)"}"#);
        // However much is wrong, the answer stays short and counts all of it.
        let many: String = (0..5000).map(|n| format!("pressure,thing=x-{n} value=1\n")).collect();
        let (answer, _) = client.stored("/write", &many).await;
        assert!(answer.text.ends_with("dropped=5000\"}") && answer.text.len() < 2000, "{}", answer.text);
        let answer = client.post("/write?precision=d", "x").await;
        assert_eq!(answer.text, r#"{"error":"invalid precision \"d\" (use ns, us, ms, s, m or h)"}"#);
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn packed_long_and_endless_bodies() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let client = Client::new(&hub, "telegraf", "50/500112/", None).await;
        let send = async |body: Vec<u8>, encoding: &str| {
            let request = Request::post("/api/v2/write?precision=s")
                .header(header::AUTHORIZATION, format!("Bearer {}", client.secret))
                .header(header::CONTENT_LENGTH, body.len())
                .header(header::CONTENT_ENCODING, encoding);
            client.send(request.body(body.into()).unwrap()).await
        };
        let line = format!("pressure,thing=h-1 value=0.3 {T}");
        assert_eq!(send(packed(line.as_bytes()), "gzip").await.status, StatusCode::NO_CONTENT);
        assert_eq!(send(line.clone().into(), "identity").await.status, StatusCode::NO_CONTENT);
        let answer = send(line.clone().into(), "gzip").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text.contains("the body is not gzip"), "{}", answer.text);
        assert_eq!(send(line.clone().into(), "br").await.status, StatusCode::BAD_REQUEST);

        // More samples than one batch holds, acknowledged after the last of them.
        let before = hub.lake.last_seq().await;
        let count = BATCH_CAP + 1000;
        let long: String =
            (0..count).map(|n| format!("pressure,thing=h-2 value=0.3 {}\n", T + n as i64)).collect();
        assert_eq!(send(packed(long.as_bytes()), "gzip").await.status, StatusCode::NO_CONTENT);
        let segments = hub.lake.segments_after(before, 100).await.unwrap();
        let stored: usize = segments.into_iter().flatten().map(|s| s.rows.iter().count()).sum();
        assert_eq!(stored, count);
        // One line with more fields than a batch holds.
        let fields = vec!["pressure=0.3"; BATCH_CAP + 10].join(",");
        assert_eq!(
            client.post("/write", format!("p,thing=h-3 {fields}")).await.status,
            StatusCode::NO_CONTENT
        );

        // Too long as sent, too long unpacked: refused, whatever the length says beforehand.
        let zeros = vec![b'\n'; 65 << 20];
        let answer = client.post("/api/v2/write", zeros[..26 << 20].to_vec()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(answer.text.starts_with(r#"{"code":"request too large","#), "{}", answer.text);
        assert_eq!(send(zeros[..26 << 20].to_vec(), "identity").await.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(send(packed(&zeros), "gzip").await.status, StatusCode::PAYLOAD_TOO_LARGE);
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_writes_until_it_is_revoked_and_is_an_integrator_at_every_door() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let client = Client::new(&hub, "telegraf", "50/500112/", None).await;
        let line = format!("pressure,thing=h-1 value=0.3 {T}");
        assert_eq!(client.post("/write?precision=s", line.clone()).await.status, StatusCode::NO_CONTENT);
        let peer = hub.watch.authenticate("whatever", client.secret.as_bytes()).await;
        let Some(Peer::Integrator(integrator)) = peer else { panic!("{peer:?}") };
        assert_eq!(integrator.name, "telegraf");
        let h3 = hub.watch.device("h-3").unwrap();
        assert!(integrator.may_write(&h3.area) && !integrator.may_read(&h3.area));
        assert_eq!(hub.watch.owner(DatastreamKey(3)).unwrap().thing, "h-3");
        assert!(hub.watch.device("none").is_none() && hub.watch.owner(DatastreamKey(99)).is_none());

        let ping = client.send(Request::get("/ping").body(Body::empty()).unwrap()).await;
        assert_eq!(ping.status, StatusCode::NO_CONTENT);
        assert!(ping.headers.contains_key("x-influxdb-version"));
        let head = client.send(Request::head("/ping").body(Body::empty()).unwrap()).await;
        assert_eq!(head.status, StatusCode::NO_CONTENT);
        let health = client.send(Request::get("/health").body(Body::empty()).unwrap()).await;
        assert!(health.text.contains(r#""status":"pass""#));

        hub.platform.revoke_token(&system(), "telegraf").await.unwrap();
        assert_eq!(client.post("/write?precision=s", line).await.status, StatusCode::UNAUTHORIZED);
        assert!(hub.watch.authenticate("whatever", client.secret.as_bytes()).await.is_none());
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_stops_asks_to_come_again() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let client = Client::new(&hub, "telegraf", "50/500112/", None).await;
        hub.watch.stop().await;
        for path in ["/write", "/api/v2/write"] {
            let answer = client.post(path, "pressure,thing=h-1 value=0.3").await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers.contains_key(header::RETRY_AFTER));
        }
        hub.close().await;
    })
    .await;
}
