//! Stop and start in the middle of everything.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use citysim::client::Device;
use serde_json::{Value, json};
use store::Backend;
use store::testing::TestDatabase;
use testkit::Client;

use crate::city::{Estate, bin_city, bins_pack, complete, publish, task, until};

#[tokio::test]
async fn after_a_restart_everything_acknowledged_is_there_and_goes_on() {
    for database in TestDatabase::each().await {
        // Ten minutes are three seconds: escalation comes due while the hub is down.
        let mut estate = Estate::start(database, 200.0).await;
        let [first, second] = estate.riser();
        let device = estate.device(first).await;
        let other = estate.device(second).await;
        publish(&device, "pressure", &[0.41, 0.12]).await;
        publish(&other, "pressure", &[0.41, 0.12]).await;
        let thing = format!("/api/v1/things/{first}");
        let property = estate.client("property").await;
        let before = property.get(&thing).await.unwrap()["datastreams"][0]["last"].clone();
        assert_eq!(before["value"], 0.12);
        estate.hub.stop().await;

        estate.hub.start_again().await.unwrap();
        let property = estate.client("property").await;
        assert_eq!(
            property.get(&thing).await.unwrap()["datastreams"][0]["last"],
            before,
            "the sample is there"
        );
        // The first low sample was before the restart: the next one is the second in a row.
        let device = estate.device(first).await;
        publish(&device, "pressure", &[0.11]).await;
        let sign = task(&property, "sign").await;
        assert_eq!(complete(&property, &sign, json!({ "outcome": "accepted" })).await.0, 200);
        let verify = task(&property, "verify").await;
        estate.hub.stop().await;
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;

        estate.hub.start_again().await.unwrap();
        let property = estate.client("property").await;
        let signed = property.get(&format!("/api/v1/tasks/{}", sign["id"].as_str().unwrap())).await.unwrap();
        assert_eq!((&signed["state"], &signed["completed_by"]), (&"completed".into(), &"property".into()));
        // The timer that came due while the hub was down fires.
        let community = estate.client("community").await;
        let climbed = task(&community, "verify").await;
        assert_eq!(climbed["case"], verify["case"]);
        // More low samples, and a second hydrant that was at its first low one: no alert twice.
        let (device, other) = (estate.device(first).await, estate.device(second).await);
        publish(&device, "pressure", &[0.11, 0.10]).await;
        publish(&other, "pressure", &[0.11]).await;
        let alerts =
            until(&property, "/api/v1/alerts", |p| (p["items"].as_array()?.len() == 2).then(|| p.clone()))
                .await;
        let mut things: Vec<&Value> =
            alerts["items"].as_array().unwrap().iter().map(|a| &a["thing"]).collect();
        things.sort_by_key(|t| t.to_string());
        assert_eq!(things, [first, second]);
        let curve = format!("/api/v1/datastreams/{}/observations", alerts["items"][0]["datastream"]);
        assert!(property.get(&curve).await.unwrap()["points"].as_array().unwrap().len() >= 3);
        estate.hub.stop().await;
    }
}

/// The real binary, killed without a word between two samples of one alert and in the middle of a
/// flood: what was acknowledged is there, and no alert opens twice.
#[tokio::test]
async fn after_a_kill_everything_acknowledged_is_there() {
    for database in TestDatabase::each().await {
        let folder = tempfile::tempdir().unwrap();
        let city = folder.path().join("city");
        std::fs::create_dir(&city).unwrap();
        let secrets = bin_city(&city);
        let url = match &database.backend {
            Backend::Sqlite { path } => path.to_string_lossy().into_owned(),
            Backend::Postgres { url } => url.clone(),
        };
        let zhongshu = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_zhongshu"));
            command.args(args).args(["--data-folder", folder.path().join("hub").to_str().unwrap()]);
            command.args([
                "--database",
                &url,
                "--http",
                "127.0.0.1:0",
                "--mqtt",
                "127.0.0.1:0",
                "--log",
                "warn",
            ]);
            command.env_clear().stdout(Stdio::piped()).stderr(Stdio::inherit());
            command
        };
        let run = |args: &[&str]| {
            let output = zhongshu(args).output().unwrap();
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        run(&["pack", "install", bins_pack().to_str().unwrap()]);
        run(&["import", city.to_str().unwrap()]);
        let account = [
            "--login",
            "cleaner",
            "--name",
            "c",
            "--grant",
            "cleaner@park",
            "--duty",
            "cleaning@park",
            "--change-password=false",
        ];
        let printed = run(&[&["admin", "create"], account.as_slice()].concat());
        let password = printed.trim().split('\t').nth(1).unwrap().to_owned();
        let serve = || {
            let mut child = zhongshu(&["serve"]).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut address = || lines.next().unwrap().unwrap().rsplit([' ', '/']).next().unwrap().to_owned();
            let (http, mqtt) = (address(), address());
            (child, format!("http://{http}"), mqtt.parse::<SocketAddr>().unwrap())
        };

        let mut acknowledged = 0;
        for round in 0..3 {
            let (mut child, url, mqtt) = serve();
            let device = Device::connect(mqtt, "bin-1", &secrets[0].1).await.unwrap();
            let flood = async {
                for i in 0..400 {
                    // One low value opens the alert; it never clears.
                    let value = if round == 0 && i == 0 { 3.9 } else { 3.0 };
                    if device
                        .publish("battery", json!({ "t": store::now(), "v": value }).to_string())
                        .await
                        .is_err()
                    {
                        break;
                    }
                    acknowledged += 1;
                }
            };
            // Killed while the flood runs, or right after it.
            let pause = std::time::Duration::from_millis(120 * (round + 1));
            tokio::select! {
                () = flood => {}
                () = tokio::time::sleep(pause) => {}
            }
            child.kill().unwrap();
            child.wait().unwrap();
            drop((device, url));
        }

        let (mut child, url, _) = serve();
        let cleaner = Client::log_in(&url, "cleaner", &password).await.unwrap();
        let alerts = until(&cleaner, "/api/v1/alerts", |p| {
            let items = p["items"].as_array()?;
            (!items.is_empty()).then(|| items.clone())
        })
        .await;
        assert_eq!(alerts.len(), 1, "no alert opens twice");
        task(&cleaner, "change").await;
        let curve = format!("/api/v1/datastreams/{}/observations?limit=8000", alerts[0]["datastream"]);
        let points = cleaner.get(&curve).await.unwrap()["points"].as_array().unwrap().len();
        assert!(acknowledged > 10, "{acknowledged} samples were acknowledged");
        // One more than acknowledged may be there each round: committed, and killed before its ack.
        assert!((acknowledged..=acknowledged + 3).contains(&points), "{points} of {acknowledged}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
