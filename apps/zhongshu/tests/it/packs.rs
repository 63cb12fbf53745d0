//! A pack with its own thing type, rule and process runs without a line of Rust; a wrong one is
//! refused whole, with file, line and reason.

use serde_json::json;
use store::testing::TestDatabase;
use testkit::{Setup, TestHub};
use zhongshu::commands::pack;

use crate::city::{bin_city, bins_pack, complete, device, fire_pack, publish, task, until};

#[tokio::test]
async fn a_pack_of_its_own_runs_from_sample_to_closed_case() {
    for database in TestDatabase::each().await {
        let folder = tempfile::tempdir().unwrap();
        let secrets = bin_city(folder.path());
        let setup = Setup { packs: vec![bins_pack()], city: Some(folder.path().into()), ..Setup::default() }
            .account("cleaner", "cleaner@park", Some("cleaning@park"));
        let (mut hub, passwords) = TestHub::start(database, setup).await.unwrap();
        let cleaner = hub.log_in(&passwords[0].0, &passwords[0].1).await.unwrap();
        let bin = device(&hub, &secrets, "bin-1").await;
        publish(&bin, "battery", &[3.9, 3.2]).await;
        let change = task(&cleaner, "change").await;
        assert_eq!(change["title"]["zh"], "公园东门垃圾桶换电池");
        let (status, answer) = complete(&cleaner, &change, json!({ "outcome": "lost" })).await;
        assert_eq!(status, 422, "{answer}");
        assert_eq!(complete(&cleaner, &change, json!({ "outcome": "changed" })).await.0, 200);
        publish(&bin, "battery", &[4.1]).await;
        until(&cleaner, "/api/v1/alerts?state=resolved", |page| {
            page["items"].as_array().unwrap().first().cloned()
        })
        .await;
        let case = until(&cleaner, "/api/v1/cases?state=closed", |p| {
            p["items"].as_array().unwrap().first().cloned()
        })
        .await;
        assert_eq!(case["process"], "change-battery");
        hub.stop().await;
    }
}

#[test]
fn both_packs_of_the_checkout_are_right() {
    for folder in [fire_pack(), bins_pack()] {
        pack::read(&folder).unwrap();
    }
}

#[test]
fn a_wrong_pack_is_refused_whole_with_file_line_and_reason() {
    let edit = |file: &str, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        copy(&bins_pack(), folder.path());
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} holds {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
        pack::read(folder.path()).err().map_or_else(|| format!("{file}: {to} was taken"), |e| e.to_string())
    };
    for (file, from, to, expected) in [
        ("pack.toml", "format = 1", "format = 9", "pack.toml"),
        ("pack.toml", "name = \"bins\"", "nmae = \"bins\"", "pack.toml:1"),
        ("rules.toml", "kind = \"below\"", "kind = \"beneath\"", "rules.toml"),
        ("rules.toml", "type = \"litter-bin\"", "type = \"letter-bin\"", "letter-bin"),
        ("rules.toml", "datastream = \"battery\"", "datastream = \"batery\"", "batery"),
        ("bindings.toml", "start = \"change-battery\"", "start = \"nothing\"", "nothing"),
        ("bindings.toml", "rule = \"bin-battery-low\"", "rule = \"no-rule\"", "no-rule"),
        ("roles.toml", "\"thing:read\"", "\"thing read\"", "roles.toml"),
        ("forms/change.schema.json", "\"object\",", "\"objekt\",", "change.schema.json"),
        (
            "processes/change-battery.bpmn",
            "<userTask id=\"change\"",
            "<scriptTask id=\"change\"",
            "change-battery.bpmn:8",
        ),
        ("processes/change-battery.bpmn", "targetRef=\"end\"", "targetRef=\"nowhere\"", "nowhere"),
        ("processes/change-battery.bpmn", "zs:form=\"change\"", "zs:form=\"chnage\"", "chnage"),
        ("things/litter-bin.toml", "interval = \"PT1H\"", "interval = \"1 hour\"", "litter-bin.toml"),
    ] {
        let said = edit(file, from, to);
        assert!(said.contains("refused") && said.contains(expected), "{file}: {to}: said {said}");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
