//! Demo accounts and addresses that others reach do not go together.

use clap::Parser as _;
use zhongshu::commands::{admin, import, pack};
use zhongshu::hub::open_store;
use zhongshu::{Config, Hub};

use crate::city::{bin_city, bins_pack};

#[derive(clap::Parser)]
struct Shell {
    #[command(flatten)]
    account: admin::Create,
}

#[tokio::test]
async fn demo_accounts_are_refused_on_an_address_that_others_reach() {
    let folder = tempfile::tempdir().unwrap();
    let city = folder.path().join("city");
    std::fs::create_dir(&city).unwrap();
    bin_city(&city);
    let data = folder.path().join("hub").to_string_lossy().into_owned();
    let config = |http: &str| {
        let flags = [
            ("data_folder", Some(data.clone())),
            ("http", Some(http.into())),
            ("mqtt", Some("127.0.0.1:0".into())),
        ];
        Config::from_sources(None, vec![], &flags).unwrap()
    };
    let store = open_store(&config("127.0.0.1:0")).await.unwrap();
    pack::install(&store, &bins_pack()).await.unwrap();
    import::folder(&store, &city, |_| {}).await.unwrap();
    let account = Shell::parse_from([
        "create",
        "--login",
        "demo",
        "--name",
        "演示",
        "--grant",
        "cleaner@park",
        "--demo",
    ]);
    let password = admin::create(&store, account.account).await.unwrap();
    assert_eq!(password.len(), 23);
    store.stop().await;
    drop(store);
    let refused = Hub::start(config("0.0.0.0:0")).await.err().unwrap().to_string();
    assert!(refused.contains("demo"), "{refused}");
    let hub = Hub::start(config("127.0.0.1:0")).await.unwrap();
    hub.stop().await;
}
