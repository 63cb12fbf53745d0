use bytes::Bytes;
use model::observation::{
    BATCH_CAP, Columns, Devices as _, Ingest as _, IngestError, Peer, Unreadable, quality,
};
use model::{DatastreamKey, Micros};
use platform::testing::system;
use sha2::{Digest as _, Sha256};

use crate::{Hub, on_each, pack, sample};

#[tokio::test]
async fn a_device_is_known_by_its_secret_and_writes_its_own_datastreams() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let hash =
            |secret: &str| Sha256::digest(secret).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let text = format!("thing,secret_sha256\nh-1,{}\nh-2,{}\n", hash("one"), hash("two"));
        assert_eq!(watch::import::credentials(&hub.store, &system(), &text).await.unwrap(), 2);
        hub.close().await;
        let hub = Hub::open(&database, &pack("")).await;
        let Some(Peer::Device(device)) = hub.watch.authenticate("h-1", b"one").await else {
            panic!("h-1 is not known")
        };
        assert_eq!(device.thing, "h-1");
        assert_eq!(device.datastreams.get("pressure"), Some(&DatastreamKey(1)));
        for (thing, secret) in [("h-1", "two"), ("h-1", ""), ("h-3", "one"), ("nobody", "one")] {
            assert!(hub.watch.authenticate(thing, secret.as_bytes()).await.is_none(), "{thing} {secret}");
        }
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn late_future_and_impossible_samples_are_kept_flagged_and_not_judged() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let now = store::now();
        let at = |s: i64| now.plus(s * Micros::SECOND);
        let flags = async |samples: Vec<model::observation::Sample>| {
            let before = hub.lake.last_seq().await;
            hub.watch.ingest(samples.into_iter().collect(), vec![]).await.unwrap();
            let page = hub.lake.segments_after(before, 10).await.unwrap();
            page.into_iter()
                .flatten()
                .flat_map(|s| s.rows.iter().collect::<Vec<_>>())
                .map(|s| s.quality)
                .collect::<Vec<_>>()
        };
        assert_eq!(flags(vec![sample(2, at(-10), 0.1)]).await, [0]);
        // Older, the same again, and another datastream's: the last is not late.
        let late = vec![sample(2, at(-11), 0.1), sample(2, at(-10), 0.1), sample(3, at(-11), 0.3)];
        assert_eq!(flags(late).await, [quality::LATE, quality::LATE, 0]);
        assert_eq!(flags(vec![sample(2, at(600), 0.1)]).await, [quality::FROM_THE_FUTURE]);
        assert_eq!(flags(vec![sample(2, at(-9), 9.0)]).await, [quality::OUT_OF_RANGE]);
        // Unordered within a batch is not late.
        assert_eq!(flags(vec![sample(3, at(-5), 0.3), sample(3, at(-6), 0.3)]).await, [0, 0]);
        hub.ingest(3, &[(-1, 0.1), (0, 0.1)]).await;
        hub.wait_alerts(&["h-3 low open 3"]).await;
        // Of datastream 2 one sample counted; the second in order opens.
        hub.watch.ingest(Columns::from_iter([sample(2, at(-8), 0.1)]), vec![]).await.unwrap();
        hub.wait_alerts(&["h-2 low open 3", "h-3 low open 3"]).await;
        hub.close().await;
    })
    .await;
}

fn unreadable(n: usize) -> Unreadable {
    Unreadable {
        thing: "h-1".into(),
        topic: "zs/v1/h-1/pressure".into(),
        payload: Bytes::from_static(b"{\xff"),
        reason: format!("payload is not JSON: {n}"),
        received_at: store::now(),
    }
}

#[tokio::test]
async fn what_could_not_be_read_is_kept_with_its_reason_and_bounded() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.watch.ingest(Columns::default(), vec![unreadable(0)]).await.unwrap();
        let row: Option<(String, Vec<u8>, String)> =
            hub.store.read().opt("SELECT thing, payload, reason FROM unreadable", vec![]).await.unwrap();
        assert_eq!(row.unwrap(), ("h-1".into(), b"{\xff".to_vec(), "payload is not JSON: 0".into()));
        for batch in 0..6 {
            let many = (0..2000).map(|n| unreadable(batch * 2000 + n)).collect();
            hub.watch.ingest(Columns::default(), many).await.unwrap();
        }
        let sql = "SELECT COUNT(*), MAX(reason) FROM unreadable";
        let row: Option<(i64, String)> = hub.store.read().opt(sql, vec![]).await.unwrap();
        assert_eq!(row.unwrap().0, 10_000);
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_taken_after_the_stop() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-1, 0.05), (0, 0.05)]).await;
        hub.watch.stop().await;
        assert_eq!(hub.alerts().await, ["h-1 low open 1"], "what was taken is judged");
        let refused = hub.watch.ingest(Columns::from_iter([sample(1, store::now(), 0.3)]), vec![]).await;
        assert_eq!(refused, Err(IngestError::Stopping));
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn doors_that_call_together_share_commits_and_each_is_answered() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let now = store::now();
        let calls = (0..200).map(|n| {
            let samples = Columns::from_iter([sample(1 + n % 3, now.plus(i64::from(n) - 1000), 0.3)]);
            hub.watch.ingest(samples, vec![])
        });
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let segments = hub.lake.segments_after(0, 1000).await.unwrap();
        let rows: usize = segments.iter().flatten().map(|s| s.rows.len()).sum();
        assert_eq!(rows, 200, "all are stored");
        assert!(segments.len() < 200, "{} commits for 200 calls", segments.len());
        let too_many: Columns = (0..=BATCH_CAP).map(|n| sample(1, now.plus(n as i64), 0.3)).collect();
        let refused = hub.watch.ingest(too_many, vec![]).await;
        assert_eq!(refused, Err(IngestError::TooLarge(BATCH_CAP + 1)));
        hub.close().await;
    })
    .await;
}
