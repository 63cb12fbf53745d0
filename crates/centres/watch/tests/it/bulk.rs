//! Files of observations: read, named where wrong, cancelled, taken up again.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use http_body_util::BodyExt as _;
use model::observation::Sample;
use parquet::arrow::ArrowWriter;
use platform::testing::{as_caller, caller, system};
use platform::token::NewToken;
use serde_json::{Value, json};
use store::testing::TestDatabase;
use tower::ServiceExt as _;
use watch::bulk::{Bulk, BulkConfig};

use crate::{ESTATE, Hub, eventually, on_each, pack};

const T: i64 = 1_795_501_925;

struct Bench {
    hub: Hub,
    bulk: Arc<Bulk>,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn open(database: &TestDatabase) -> Self {
        let hub = Hub::open(database, &pack("")).await;
        let folder = tempfile::tempdir().unwrap();
        let bulk = open(&hub, folder.path()).await;
        Self { hub, bulk, folder }
    }

    /// The routes as a person who may import in the whole city sees them.
    fn person(&self) -> Router {
        let officer = caller(store::new_id(), "李娜", "50/", &["observation:import"]);
        as_caller(watch::http::import_routes(self.bulk.clone()), officer)
    }

    async fn close(self) {
        self.bulk.stop().await;
        self.hub.close().await;
    }

    /// Everything that is stored, as key, seconds since `T`, value.
    async fn samples(&self) -> Vec<(i32, i64, f64)> {
        let segments = self.hub.lake.segments_after(0, 10_000).await.unwrap();
        let samples = segments.into_iter().flatten().flat_map(|s| s.rows.iter().collect::<Vec<Sample>>());
        let mut samples: Vec<_> =
            samples.map(|s| (s.datastream.0, s.time.0 / 1_000_000 - T, s.value)).collect();
        samples.sort_by(|a, b| a.partial_cmp(b).unwrap());
        samples
    }
}

async fn open(hub: &Hub, folder: &Path) -> Arc<Bulk> {
    let config = BulkConfig { folder: folder.join("imports"), largest: 8 << 20 };
    Bulk::open(hub.watch.clone(), config).await.unwrap()
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn get(router: &Router, path: &str) -> (StatusCode, Value) {
    ask(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn send(router: &Router, query: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    ask(router, Request::post(format!("/api/v1/imports?{query}")).body(body.into()).unwrap()).await
}

/// Sends a file and waits for its end.
async fn import(router: &Router, query: &str, body: impl Into<Body>) -> Value {
    let (status, taken) = send(router, query, body).await;
    assert_eq!(status, StatusCode::CREATED, "{taken}");
    ended(router, taken["id"].as_str().unwrap()).await
}

async fn ended(router: &Router, id: &str) -> Value {
    let path = format!("/api/v1/imports/{id}");
    eventually(|| async {
        let (_, import) = get(router, &path).await;
        if import["finished_at"].is_null() { Err(import.to_string()) } else { Ok(()) }
    })
    .await;
    get(router, &path).await.1
}

fn time(seconds: i64) -> String {
    model::Micros((T + seconds) * 1_000_000).to_string()
}

#[tokio::test]
async fn a_csv_is_read_and_its_wrong_rows_are_named() {
    on_each(|database| async move {
        let bench = Bench::open(&database).await;
        let router = bench.person();
        let text = format!(
            "\u{feff}thing,datastream,time,value,quality,unit\r\n\
             h-1,pressure,{t0},0.31,,\r\n\
             h-2,pressure,{t1},187,0,kPa\r\n\
             h-9,pressure,{t0},0.31,,\r\n\
             h-1,flow,{t0},0.31,,\r\n\
             h-1,pressure,yesterday,0.31,,\r\n\
             h-1,pressure,{t0},much,,\r\n\
             h-1,pressure,{t0},NaN,,\r\n\
             h-1,pressure,{t0},1,,Cel\r\n\
             h-1,pressure\r\n\
             \"h-3\",\"pressure\",{t2},0.5\r\n",
            t0 = time(0),
            t1 = time(1),
            t2 = time(2),
        );
        let import = import(&router, "name=day.csv", text).await;
        assert_eq!(json!([import["state"], import["samples"], import["wrong"]]), json!(["done", 3, 7]));
        assert_eq!(import["bytes"], import["bytes_read"]);
        let wrong: Vec<String> = import["wrong_rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| format!("{}: {}", row["line"], row["reason"].as_str().unwrap()))
            .collect();
        let expected = [
            "4: no thing \"h-9\" in your areas",
            "5: thing \"h-1\" has no datastream \"flow\"",
            "6: time \"yesterday\" is not RFC 3339",
            "7: value \"much\" is not a number",
            "8: value is not a number within ±1e15",
            "9: a value in \"Cel\" does not turn into \"MPa\"",
            "10: has 2 cells, and column 4 is needed",
        ];
        assert!(wrong.iter().zip(expected).all(|(w, e)| w.starts_with(e)), "{wrong:#?}");
        assert_eq!(bench.samples().await, [(1, 0, 0.31), (2, 1, 0.187), (3, 2, 0.5)]);

        // Columns by other names, times as integers, only the first hundred wrong rows named.
        let mut text = "zeit,ding,reihe,wert\n".to_owned();
        for n in 0..150 {
            text.push_str(&format!("{},h-1,pressure,0.{n}\n{n},h-0,pressure,1\n", (T + 10 + n) * 1000));
        }
        let query = "format=csv&thing=ding&datastream=reihe&time=zeit&value=wert&time_unit=ms";
        let import = self::import(&router, query, text).await;
        assert_eq!(json!([import["samples"], import["wrong"]]), json!([150, 150]));
        assert_eq!(import["wrong_rows"].as_array().unwrap().len(), 100);

        for (text, reason) in [
            ("thing,time,value\n", "the header names no column \"datastream\"; it names thing, time, value"),
            ("", "the header names no column \"thing\""),
            (
                &format!("thing,datastream,time,value\n\"{}", "x".repeat(3 << 20)),
                "a record is longer than 1 MiB",
            ),
        ] {
            let import = self::import(&router, "format=csv", text.to_owned()).await;
            assert_eq!(import["state"], "failed", "{import}");
            assert!(import["reason"].as_str().unwrap().contains(reason), "{import}");
        }
        let left = std::fs::read_dir(bench.folder.path().join("imports")).unwrap().count();
        assert_eq!(left, 0, "files go once they are read");
        let (_, page) = get(&router, "/api/v1/imports?limit=3").await;
        assert_eq!(page["items"].as_array().unwrap().len(), 3);
        let after = page["next"].as_str().unwrap();
        let (_, page) = get(&router, &format!("/api/v1/imports?after={after}")).await;
        assert_eq!(
            (page["items"].as_array().unwrap().len(), page["items"][1]["name"].clone()),
            (2, json!("day.csv"))
        );
        bench.close().await;
    })
    .await;
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[tokio::test]
async fn a_parquet_file_is_read() {
    on_each(|database| async move {
        let bench = Bench::open(&database).await;
        let router = bench.person();
        let thing: ArrayRef = Arc::new(StringArray::from(vec![Some("h-1"), Some("h-2"), None, Some("h-7")]));
        let stream: ArrayRef = Arc::new(StringArray::from(vec!["pressure"; 4]));
        let value: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.25, 1.0, 1.0]));
        let stamps: ArrayRef =
            Arc::new(TimestampMillisecondArray::from(vec![T * 1000; 4]).with_timezone("UTC"));
        let counts: ArrayRef = Arc::new(Int64Array::from((0..4).map(|n| T + 5 + n).collect::<Vec<_>>()));
        let file = parquet(vec![
            ("thing", thing.clone()),
            ("datastream", stream.clone()),
            ("time", stamps),
            ("value", value.clone()),
            ("note", stream.clone()),
        ]);
        let import = import(&router, "name=x.parquet", file.clone()).await;
        assert_eq!(
            json!([import["state"], import["samples"], import["wrong"]]),
            json!(["done", 2, 2]),
            "{import}"
        );
        assert_eq!(
            import["wrong_rows"],
            json!([
                { "line": 3, "reason": "thing is null or cannot be read" },
                { "line": 4, "reason": "no thing \"h-7\" in your areas" }
            ])
        );
        let columns = vec![("thing", thing), ("datastream", stream), ("when", counts), ("value", value)];
        let counted = parquet(columns);
        let import = self::import(&router, "format=parquet&time=when&time_unit=s", counted.clone()).await;
        assert_eq!(import["samples"], 2);
        assert_eq!(bench.samples().await, [(1, 0, 0.5), (1, 5, 0.5), (2, 0, 0.25), (2, 6, 0.25)]);
        for (query, file, reason) in [
            ("time=when", counted.clone(), "times are integers; say what they count"),
            ("", counted, "the file has no column \"time\"; it has thing, datastream, when, value"),
            ("", b"PAR1 and nothing".to_vec(), "the file does not read"),
            ("unit=u", file, "the file has no column \"u\""),
        ] {
            let import = self::import(&router, &format!("format=parquet&{query}"), file).await;
            assert_eq!(import["state"], "failed");
            assert!(import["reason"].as_str().unwrap().contains(reason), "{import}");
        }
        bench.close().await;
    })
    .await;
}

fn long_csv(rows: i64) -> String {
    let mut text = "thing,datastream,time,value\n".to_owned();
    for n in 0..rows {
        text.push_str(&format!("h-{},pressure,{},0.3\n", n % 3 + 1, T + n));
    }
    text
}

#[tokio::test]
async fn an_import_goes_on_after_a_restart_and_loses_nothing() {
    on_each(|database| async move {
        const ROWS: i64 = 120_000;
        let mut bench = Bench::open(&database).await;
        let router = bench.person();
        let (_, taken) = send(&router, "format=csv&time_unit=s", long_csv(ROWS)).await;
        let id = taken["id"].as_str().unwrap().to_owned();
        eventually(|| async {
            let seen = bench.hub.lake.last(model::DatastreamKey(1)).is_some();
            if seen { Ok(()) } else { Err("nothing is stored yet".into()) }
        })
        .await;
        bench.bulk.stop().await;
        let row: Option<(String, i64)> = bench
            .hub
            .store
            .read()
            .opt("SELECT state, samples FROM imports WHERE position IS NOT NULL", vec![])
            .await
            .unwrap();
        let (state, samples) = row.unwrap_or_else(|| panic!("it ended before the stop"));
        assert_eq!(state, "running");
        assert!(samples > 0 && samples < ROWS, "{samples}");
        // What half arrived before a crash is removed, what waits is not.
        let half = bench.folder.path().join("imports").join("half.part");
        std::fs::write(&half, "x").unwrap();
        bench.bulk = open(&bench.hub, bench.folder.path()).await;
        assert!(!half.exists());
        eventually(|| async {
            let sql = "SELECT state, samples FROM imports";
            let row: Option<(String, i64)> = bench.hub.store.read().opt(sql, vec![]).await.unwrap();
            let row = row.unwrap();
            if row == ("done".to_owned(), ROWS) { Ok(()) } else { Err(format!("{id}: {row:?}")) }
        })
        .await;
        let samples = bench.samples().await;
        assert_eq!(samples.len() as i64, ROWS, "all of them, each once");
        bench.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_import_is_seen_and_cancelled_by_its_sender_alone() {
    on_each(|database| async move {
        let bench = Bench::open(&database).await;
        let router = bench.person();
        let other = bench.person();
        let (_, taken) = send(&router, "format=csv&time_unit=s", long_csv(110_000)).await;
        let path = format!("/api/v1/imports/{}", taken["id"].as_str().unwrap());
        let delete = || Request::delete(&path).body(Body::empty()).unwrap();
        assert_eq!(get(&other, &path).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&other, delete()).await.0, StatusCode::NOT_FOUND);
        assert_eq!(get(&other, "/api/v1/imports").await.1["items"], json!([]));
        assert_eq!(ask(&router, delete()).await.0, StatusCode::NO_CONTENT);
        assert_eq!(ask(&router, delete()).await.0, StatusCode::CONFLICT);
        assert_eq!(get(&router, &path).await.1["state"], "cancelled");
        // The next one is read all the same.
        let import = import(&router, "format=csv&time_unit=s", long_csv(10)).await;
        assert_eq!(json!([import["state"], import["samples"]]), json!(["done", 10]));
        assert_eq!(get(&router, &path).await.1["state"], "cancelled");
        bench.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_imports_within_its_area_and_files_are_bounded() {
    on_each(|database| async move {
        let bench = Bench::open(&database).await;
        let area = model::AreaPath::parse(&format!("{ESTATE}jz-02/")).unwrap();
        let new = NewToken {
            name: "history".into(),
            area,
            read: false,
            write: true,
            thing_tag: None,
            expires_at: None,
        };
        let secret = bench.hub.platform.create_token(&system(), new).await.unwrap();
        let router = watch::http::import_routes(bench.bulk.clone()).split().0;
        let router = router.layer(from_fn_with_state(bench.hub.platform.clone(), platform::http::identify));
        let with = |request: axum::http::request::Builder| {
            request.header(header::AUTHORIZATION, format!("Token {secret}"))
        };
        assert_eq!(send(&router, "format=csv", "x").await.0, StatusCode::UNAUTHORIZED);
        let request =
            with(Request::post("/api/v1/imports?time_unit=s")).header(header::CONTENT_TYPE, "text/csv");
        let (status, taken) = ask(&router, request.body(long_csv(9).into()).unwrap()).await;
        assert_eq!(status, StatusCode::CREATED);
        let path = format!("/api/v1/imports/{}", taken["id"].as_str().unwrap());
        eventually(|| async {
            let (_, import) = ask(&router, with(Request::get(&path)).body(Body::empty()).unwrap()).await;
            let found = json!([import["state"], import["samples"], import["wrong"], import["created_by"]]);
            // Only h-3 is in building 2.
            let expected = json!(["done", 3, 6, "token:history"]);
            if found == expected { Ok(()) } else { Err(import.to_string()) }
        })
        .await;
        let person = bench.person();
        assert_eq!(send(&person, "format=csv", vec![b'x'; 9 << 20]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(send(&person, "", "x").await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for query in ["format=xml", "format=csv&thing=", "format=csv&tiem=t", "format=csv&time_unit=m"] {
            assert_eq!(send(&person, query, "x").await.0, StatusCode::BAD_REQUEST, "{query}");
        }
        let stranger = as_caller(
            watch::http::import_routes(bench.bulk.clone()),
            caller(store::new_id(), "王强", "50/", &["thing:read"]),
        );
        assert_eq!(send(&stranger, "format=csv", "x").await.0, StatusCode::FORBIDDEN);
        assert_eq!(std::fs::read_dir(bench.folder.path().join("imports")).unwrap().count(), 0);
        bench.close().await;
    })
    .await;
}
