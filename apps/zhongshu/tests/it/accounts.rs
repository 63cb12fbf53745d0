//! What is done to an account is felt by the pages that are open, at once.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;
use store::Backend;
use store::testing::TestDatabase;
use testkit::{Client, Stream};

use crate::city::{BOUND, Estate, publish};
use crate::load::Site;

/// What is promised to those who administer accounts.
const PROMISED: Duration = Duration::from_secs(5);

/// The stream ends within what is promised.
async fn ends(mut stream: Stream, why: &str) {
    let end = async { while let Ok(Some(_)) = stream.next().await {} };
    assert!(tokio::time::timeout(PROMISED, end).await.is_ok(), "{why}: the stream goes on");
}

async fn person(security: &Client, login: &str) -> Value {
    security.get(&format!("/api/v1/people?q={login}")).await.unwrap()["items"][0].clone()
}

#[tokio::test]
async fn a_session_revoked_a_grant_ended_or_an_account_disabled_ends_its_streams() {
    for database in TestDatabase::each().await {
        let mut estate = Estate::start(database, 1.0).await;
        let (system, security) = (estate.client("system").await, estate.client("security").await);
        let mine = person(&security, "property2").await;
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let id = text(&mine["id"]);
        // Another's stream goes on through all of it.
        let bystander = estate.client("property").await;
        let mut other = bystander.events(None).await.unwrap();

        let ask = async |client: &Client, method: &str, path: String, body: Option<Value>| {
            let (status, answer) = client.call(method, &path, body).await.unwrap();
            assert!(status.is_success(), "{method} {path}: {status} {answer}");
            answer
        };
        let client = estate.client("property2").await;
        let sessions = ask(&security, "GET", format!("/api/v1/people/{id}/sessions"), None).await;
        let session = text(&sessions["items"][0]["id"]);
        let stream = client.events(None).await.unwrap();
        ask(&security, "DELETE", format!("/api/v1/people/{id}/sessions/{session}"), None).await;
        ends(stream, "the session was revoked").await;
        assert_eq!(client.send("GET", "/api/v1/session", None).await.unwrap().status(), 401);

        let client = estate.client("property2").await;
        let stream = client.events(None).await.unwrap();
        let grant = text(&mine["grants"][0]["id"]);
        ask(&security, "DELETE", format!("/api/v1/grants/{grant}"), None).await;
        ends(stream, "a grant was ended").await;
        assert_eq!(client.get("/api/v1/session").await.unwrap()["grants"], json!([]));

        let stream = client.events(None).await.unwrap();
        let given =
            json!({ "person": id, "role": "property-manager", "area": mine["grants"][0]["area"]["path"] });
        ask(&security, "POST", "/api/v1/grants".into(), Some(given)).await;
        ends(stream, "a grant was given: the page asks anew what it may").await;

        let stream = client.events(None).await.unwrap();
        ask(&system, "POST", format!("/api/v1/people/{id}/disable"), None).await;
        ends(stream, "the account was disabled").await;
        let password = estate.passwords.iter().find(|(l, _)| l == "property2").unwrap().1.clone();
        assert!(estate.hub.log_in("property2", &password).await.is_err());

        // Nobody else's stream has ended.
        let device = estate.device(estate.riser()[0]).await;
        publish(&device, "pressure", &[0.12, 0.11]).await;
        other.wait_for("alert.opened", BOUND).await.unwrap();
        estate.hub.stop().await;
    }
}

/// `zhongshu audit verify`, beside the hub and after it, before and after a hand in the database.
#[tokio::test]
async fn the_audit_is_verified_from_the_shell_and_anchored_outside() {
    for database in TestDatabase::each().await {
        let site = Site::new(database, 0).await;
        let hub = site.installation.serve().await.unwrap();
        site.cleaner(&hub).await;
        let told = site.installation.run(&["audit", "verify"]).await.unwrap();
        assert!(told.starts_with("the audit holds: "), "{told}");
        assert!(hub.stop().await.unwrap());
        let told = site.installation.run(&["audit", "verify"]).await.unwrap();
        assert!(told.contains("1 anchors hold"), "the hub anchors as it stops: {told}");
        // The log-in never was, and the chain is made to agree: only the anchor knows.
        let changes = [
            "UPDATE audit SET actor_name = 'nobody' WHERE action = 'session:open'",
            "DELETE FROM audit WHERE position >= (SELECT position FROM audit WHERE action = 'session:open')",
        ];
        for (sql, expected) in changes.into_iter().zip(["(session:open of ", " is missing"]) {
            match &site.database.backend {
                Backend::Sqlite { .. } => {
                    let path = site.installation.data.join("state.db");
                    let options = store::database::sqlite_options(&path);
                    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
                    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                    connection.close().await.unwrap();
                }
                Backend::Postgres { url } => {
                    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                    connection.close().await.unwrap();
                }
            }
            let refused = site.installation.run(&["audit", "verify"]).await.unwrap_err().to_string();
            assert!(refused.contains("the audit is broken") && refused.contains(expected), "{refused}");
        }
    }
}
