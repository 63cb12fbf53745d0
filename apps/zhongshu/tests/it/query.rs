//! Questions to the lake over HTTP.

use serde_json::{Value, json};
use store::testing::TestDatabase;
use store::{Store, StoreConfig};
use testkit::Client;

use crate::city::{Estate, publish, until};

async fn ask(client: &Client, sql: &str) -> (u16, Value) {
    let (status, answer) = client.call("POST", "/api/v1/query", Some(json!({ "sql": sql }))).await.unwrap();
    (status.as_u16(), answer)
}

#[tokio::test]
async fn people_ask_in_sql_and_see_their_own_areas() {
    let database = TestDatabase::sqlite();
    let backend = database.backend.clone();
    let mut estate = Estate::start(database, 1.0).await;
    let [first, second] = estate.riser();
    for (thing, values) in [(first, [0.40, 0.42]), (second, [0.30, 0.34])] {
        let device = estate.device(thing).await;
        publish(&device, "pressure", &values).await;
    }
    let district = estate.client("district").await;
    let by_thing = "SELECT thing, count(*) AS n, max(value) AS highest, min(phenomenon_time) AS since
        FROM observations WHERE property = 'pressure' GROUP BY thing ORDER BY thing";
    let (status, answer) = ask(&district, by_thing).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["columns"],
        json!([
            { "name": "thing", "type": "text" },
            { "name": "n", "type": "integer" },
            { "name": "highest", "type": "number" },
            { "name": "since", "type": "time" },
        ])
    );
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|r| (&r[0], &r[1], &r[2])).collect::<Vec<_>>(),
        [(&json!(first), &json!(2), &json!(0.42)), (&json!(second), &json!(2), &json!(0.34)),]
    );
    assert!(rows[0][3].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer["truncated"], false);
    let (_, cut) = district
        .call("POST", "/api/v1/query", Some(json!({ "sql": "SELECT value FROM observations", "limit": 1 })))
        .await
        .unwrap();
    assert_eq!((cut["rows"].as_array().unwrap().len(), &cut["truncated"]), (1, &json!(true)));

    for (sql, status, kind, line) in [
        ("DROP TABLE observations", 400, "refused", None),
        ("SELECT value,\n valeu FROM observations", 400, "statement", Some(2)),
        ("SELECT 1 / (datastream - datastream) FROM observations", 422, "failed", None),
    ] {
        let (found, problem) = ask(&district, sql).await;
        assert_eq!(
            (found, problem["type"].as_str()),
            (status, Some(format!("/problems/query-{kind}").as_str())),
            "{problem}"
        );
        assert_eq!(problem["line"].as_u64(), line, "{problem}");
    }
    // Nobody below the street asks in SQL; pages show their steps all the same.
    let property = estate.client("property").await;
    assert_eq!(ask(&property, "SELECT 1").await.0, 403);
    let tables = district.get("/api/v1/query/tables").await.unwrap();
    let names: Vec<_> = tables.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["observations", "latest", "observations_by_step", "datastreams", "things", "areas"]);
    for table in names {
        assert_eq!(ask(&district, &format!("SELECT * FROM {table} LIMIT 1")).await.0, 200, "{table}");
    }
    let (_, key) = ask(
        &district,
        &format!("SELECT key FROM datastreams WHERE thing = '{first}' AND property = 'pressure'"),
    )
    .await;
    let key = &key["rows"][0][0];
    let steps =
        until(&property, &format!("/api/v1/datastreams/{key}/aggregate?step=PT1H&fill=null"), |steps| {
            steps["points"].as_array()?.iter().any(|p| p[4] == 2).then(|| steps.clone())
        })
        .await;
    assert!(steps["points"].as_array().unwrap().len() >= 24, "{steps}");
    assert_eq!(steps["step_seconds"], 3600.0);
    let neighbour = estate.client("neighbour").await;
    let (status, _) =
        neighbour.call("GET", &format!("/api/v1/datastreams/{key}/aggregate"), None).await.unwrap();
    assert_eq!(status, 404);
    spreadsheets_and_machines(&estate).await;
    // Who asked what is in the audit.
    estate.hub.stop().await;
    let zone = jiff::tz::TimeZone::UTC;
    let store = Store::open(StoreConfig { backend, time_zone: zone, exclusive: false }).await.unwrap();
    let sql = "SELECT detail FROM audit WHERE action = 'data:query'";
    let rows: Vec<(String,)> = store.read().all(sql, vec![]).await.unwrap();
    assert!(rows.iter().any(|(detail,)| detail.contains("DROP TABLE observations")), "{rows:?}");
    store.stop().await;
}

/// The forms beside JSON, by a client that says what it accepts.
async fn spreadsheets_and_machines(estate: &Estate) {
    let url = estate.hub.url().unwrap();
    let client = reqwest::Client::builder().cookie_store(true).no_proxy().build().unwrap();
    let (_, password) = estate.passwords.iter().find(|(login, _)| login == "district").unwrap();
    let body = json!({ "login": "district", "password": password });
    let session = client.post(format!("{url}/api/v1/session")).json(&body).send().await.unwrap();
    let session: Value = session.json().await.unwrap();
    let ask = async |accept: &str, sql: &str| {
        let request = client
            .post(format!("{url}/api/v1/query"))
            .header("accept", accept)
            .header("x-csrf-token", session["csrf"].as_str().unwrap())
            .json(&json!({ "sql": sql }));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        (header("content-type").unwrap(), header("x-truncated").unwrap(), answer.bytes().await.unwrap())
    };
    let sql =
        "SELECT '=1+1' AS \"=name\", to_timestamp_micros(1500000) AS at, -0.5 AS v, -7 AS n, NULL AS gone";
    let (kind, truncated, csv) = ask("text/csv", sql).await;
    assert_eq!((kind.as_str(), truncated.as_str()), ("text/csv; charset=utf-8", "false"));
    let csv = String::from_utf8(csv.to_vec()).unwrap();
    assert_eq!(csv, "\u{feff}'=name,at,v,n,gone\r\n'=1+1,1970-01-01 08:00:01.5,-0.5,-7,\r\n");
    let (kind, _, arrow) =
        ask("application/vnd.apache.arrow.stream", "SELECT value, thing FROM observations").await;
    assert_eq!(kind, "application/vnd.apache.arrow.stream");
    // Arrow's encapsulated message format: a continuation marker before every message, and one
    // with no length at the end.
    assert_eq!(arrow[..4], [0xff; 4]);
    assert_eq!(arrow[arrow.len() - 8..], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
}
