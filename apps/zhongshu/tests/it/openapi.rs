//! The document that the pages' client is generated from is the one that the hub serves.

use std::path::Path;

use store::testing::TestDatabase;
use testkit::{Client, Setup, TestHub};

#[tokio::test]
async fn the_kept_document_is_the_served_one() {
    let (mut hub, _) = TestHub::start(TestDatabase::sqlite(), Setup::default()).await.unwrap();
    let served = Client::nobody(&hub.url().unwrap()).unwrap().get("/api/v1/openapi.json").await.unwrap();
    hub.stop().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/openapi.json");
    let served = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
        std::fs::write(&file, &served).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == served, "web/openapi.json is old: run `make bless`, then `npm --prefix web run gen`");
}
