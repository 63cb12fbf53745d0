use platform::import::ImportError;
use platform::testing::system;
use watch::import;

use crate::{Hub, THINGS, on_each, pack};

#[tokio::test]
async fn importing_again_changes_nothing_and_new_things_get_the_next_keys() {
    on_each(|database| async move {
        let pack = pack("");
        let hub = Hub::open(&database, &pack).await;
        let keys = async || {
            let sql = "SELECT key, thing, code FROM datastreams ORDER BY key";
            hub.store.read().all::<(i64, String, String)>(sql, vec![]).await.unwrap()
        };
        let ids = async || {
            let sql = "SELECT code, id FROM things ORDER BY code";
            hub.store.read().all::<(String, model::Id)>(sql, vec![]).await.unwrap()
        };
        let (keys_before, ids_before) = (keys().await, ids().await);
        assert_eq!(
            keys_before.iter().map(|k| (k.0, k.1.as_str())).collect::<Vec<_>>(),
            [(1, "h-1"), (2, "h-2"), (3, "h-3")]
        );
        let packs = std::slice::from_ref(&pack);
        let more = format!("{THINGS}h-0,fire-hydrant,jz,新,New,,,,,false,\n").replace("东门", "西门");
        assert_eq!(import::things(&hub.store, &system(), packs, &more).await.unwrap(), 4);
        let keys_after = keys().await;
        assert_eq!(keys_after[..3], keys_before);
        assert_eq!((keys_after[3].0, keys_after[3].1.as_str()), (4, "h-0"));
        assert_eq!(ids().await[1..], ids_before);
        let place: Option<(String,)> =
            hub.store.read().opt("SELECT place_zh FROM things WHERE code = 'h-1'", vec![]).await.unwrap();
        assert_eq!(place.unwrap().0, "西门", "renewed");
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn wrong_rows_are_named_by_line_and_nothing_is_written() {
    on_each(|database| async move {
        let pack = pack("");
        let hub = Hub::open(&database, &pack).await;
        let packs = std::slice::from_ref(&pack);
        let header = THINGS.lines().next().unwrap();
        for (row, reason) in [
            ("x 1,fire-hydrant,jz,名,,,,,,false,", "must be letters"),
            ("x-1,pump,jz,名,,,,,,false,", "no type \"pump\""),
            ("x-1,fire-hydrant,nowhere,名,,,,,,false,", "no area \"nowhere\""),
            ("x-1,fire-hydrant,jz,名,,,,106,,false,", "together"),
            ("x-1,fire-hydrant,jz,名,,,,106,290,false,", "no place on earth"),
            ("x-1,fire-hydrant,jz,,,,,,,false,", "name_zh is empty"),
            ("x-1,fire-hydrant,jz,名,,,,,,maybe,", ""),
            ("x-1,fire-hydrant,jz,名,,,,,,false,[1]", "not a JSON object"),
            ("x-0,fire-hydrant,jz,名,,,,,,false,", "stands twice"),
            ("x-1,fire-hydrant", ""),
        ] {
            let text = format!("{header}\nx-0,fire-hydrant,jz,好,Good,,,,,false,\n{row}\n");
            let done = import::things(&hub.store, &system(), packs, &text).await;
            let Err(ImportError::Rows(wrong)) = done else { panic!("{row}: {done:?}") };
            assert_eq!((wrong.len(), wrong[0].line), (1, 3), "{row}: {wrong:?}");
            assert!(wrong[0].reason.contains(reason), "{row}: {wrong:?}");
        }
        let count: Option<(i64,)> =
            hub.store.read().opt("SELECT COUNT(*) FROM things", vec![]).await.unwrap();
        assert_eq!(count, Some((3,)));

        for (row, reason) in [
            (format!("h-1,{}", "a".repeat(63)), "64 hexadecimal"),
            (format!("h-9,{}", "a".repeat(64)), "no thing \"h-9\""),
        ] {
            let done =
                import::credentials(&hub.store, &system(), &format!("thing,secret_sha256\n{row}\n")).await;
            let Err(ImportError::Rows(wrong)) = done else { panic!("{row}: {done:?}") };
            assert!(wrong[0].line == 2 && wrong[0].reason.contains(reason), "{wrong:?}");
        }
        hub.close().await;
    })
    .await;
}
