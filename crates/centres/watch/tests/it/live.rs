use model::AreaPath;

use crate::{ESTATE, Hub, eventually, on_each, pack};

#[tokio::test]
async fn a_page_gets_what_changed_in_its_areas_once() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        let estate = [AreaPath::parse(ESTATE).unwrap()];
        let building = [AreaPath::parse(&format!("{ESTATE}jz-01/")).unwrap()];
        let mut all = hub.watch.live_cursor();
        let mut one = all.clone();
        assert!(hub.watch.live_since(&mut all, &estate).values.is_empty());
        hub.ingest(1, &[(-3, 0.3), (-2, 0.31)]).await;
        hub.ingest(2, &[(-3, 0.15)]).await;
        hub.ingest(2, &[(-2, 0.16)]).await;
        let live = hub.watch.live_since(&mut all, &estate);
        assert_eq!(
            live.values.iter().map(|v| (v.key.0, v.value)).collect::<Vec<_>>(),
            [(1, 0.31), (2, 0.16)]
        );
        let json = serde_json::to_value(live.values[0]).unwrap();
        assert!(json[0] == 1 && json[1].is_string() && json[2] == 0.31 && json[3] == 0, "{json}");
        let live = hub.watch.live_since(&mut one, &building);
        assert_eq!(live.values.iter().map(|v| v.key.0).collect::<Vec<_>>(), [2], "only the building's");
        hub.wait_alerts(&["h-2 low open 3"]).await;
        eventually(|| async {
            let mut from_start = one.clone();
            let live = hub.watch.live_since(&mut from_start, &building);
            let things = serde_json::to_value(&live.things).unwrap();
            let expected = serde_json::json!([{ "code": "h-2", "state": "alert", "severity": "yellow" }]);
            if things == expected { Ok(()) } else { Err(things.to_string()) }
        })
        .await;
        assert!(hub.watch.live_since(&mut one, &[]).things.is_empty());
        hub.close().await;
    })
    .await;
}
