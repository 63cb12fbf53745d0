//! Who sees which notice.

use model::{AreaPath, Severity, Text};
use platform::http::routes;
use platform::notice::{self, NewNotice};
use platform::testing::{as_caller, caller, small_city, system};
use store::testing::on_each;
use store::{Store, StoreError, new_id};

use crate::{get, open};

const ESTATE: &str = "50/500112/500112011/500112011014/jz/";

async fn publish(store: &Store, key: &str, area: &str, public: bool) {
    let notice = NewNotice {
        key: key.into(),
        area: AreaPath::parse(area).unwrap(),
        public,
        severity: Some(Severity::Yellow),
        title: Text::new(key, key),
        body: Text::default(),
    };
    store
        .command::<_, _, StoreError, _>(&system(), "notice:publish", notice, |tx, notice| {
            Box::pin(async move { notice::publish(tx, notice).await })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_resident_sees_the_own_building_and_what_is_public_above() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        for (key, area, public) in [
            ("mine", format!("{ESTATE}jz-01/"), false),
            ("neighbour", format!("{ESTATE}jz-02/"), false),
            ("estate-public", ESTATE.to_owned(), true),
            ("estate-inner", ESTATE.to_owned(), false),
        ] {
            publish(&store, key, &area, public).await;
            publish(&store, key, &area, public).await; // the same key is the same notice
        }
        let platform = open(&store, folder.path()).await;
        let resident = caller(new_id(), "resident", &format!("{ESTATE}jz-01/"), &["notice:read"]);
        let router = as_caller(routes(platform.clone()), resident);
        let titles = |page: &serde_json::Value| -> Vec<String> {
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n["title"]["zh"].as_str().unwrap().to_owned())
                .collect()
        };
        let mut seen = titles(&get(&router, "/api/v1/notices").await.1);
        seen.sort();
        assert_eq!(seen, ["estate-public", "mine"]);

        // It gets graver, never milder.
        for (severity, raised) in [(Severity::Orange, 1), (Severity::Blue, 0), (Severity::Orange, 0)] {
            let done = store
                .command::<_, u64, StoreError, _>(&system(), "notice:raise", severity, |tx, severity| {
                    Box::pin(async move { notice::raise(tx, "mine", *severity).await })
                })
                .await;
            assert_eq!(done.unwrap(), raised, "{severity:?}");
        }

        store
            .command::<_, u64, StoreError, _>(&system(), "notice:end", (), |tx, ()| {
                Box::pin(async move { notice::end(tx, "mine").await })
            })
            .await
            .unwrap();
        let (_, page) = get(&router, "/api/v1/notices?limit=1").await;
        assert_eq!(titles(&page), ["estate-public"], "current ones first");
        let next = page["next"].as_str().unwrap();
        let (_, page) = get(&router, &format!("/api/v1/notices?limit=1&after={next}")).await;
        assert_eq!((titles(&page), &page["items"][0]["state"]), (vec!["mine".to_owned()], &"ended".into()));
    })
    .await;
}
