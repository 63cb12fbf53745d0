//! Lists: pages neither repeat nor skip, and the scope holds.

use model::AreaPath;
use store::filter::{KeyValue, Keyed};
use store::testing::on_each;
use store::{Filter, Order, PageRequest, Select, StoreError, args};

use crate::context;

#[derive(sqlx::FromRow)]
struct Row {
    area: String,
    sort: i64,
    feature: String,
}

impl Keyed for Row {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::Text(self.area.clone()), KeyValue::I64(self.sort)]
    }
}

fn select(areas: &[&str]) -> Select {
    Select {
        head: "SELECT area, sort, feature FROM area_features",
        filter: Filter::Within("area", areas.iter().map(|a| AreaPath::parse(a).unwrap()).collect()),
        order: vec![Order::Up("area"), Order::Down("sort")],
    }
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_and_stay_in_scope() {
    on_each(|store| async move {
        store
            .command::<_, (), StoreError, _>(&context(), "test:fill", (), |tx, ()| {
                Box::pin(async move {
                    let rows = (0..300i64)
                        .map(|i| args![["50/1/", "50/1/a/", "50/10/"][(i % 3) as usize], i, format!("{i}_%")])
                        .collect();
                    tx.insert_many("INSERT INTO area_features (area, sort, feature)", "", 3, rows).await
                })
            })
            .await
            .unwrap();
        for (areas, expected) in
            [(&["50/"][..], 300), (&["50/1/"], 200), (&["50/1/a/", "50/10/"], 200), (&[], 0)]
        {
            let mut seen = Vec::new();
            let mut page = PageRequest { limit: Some(7), after: None };
            loop {
                let got = store.list::<Row>(select(areas), &page).await.unwrap();
                seen.extend(got.items.iter().map(|r| (r.area.clone(), -r.sort)));
                match got.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen.len(), expected, "{areas:?}");
            assert!(seen.is_sorted());
            seen.dedup();
            assert_eq!(seen.len(), expected);
        }
        // A cursor of another list is refused, not a fault.
        let strange = PageRequest { limit: None, after: Some("WyJ4IiwieSJd".into()) }; // ["x","y"]
        let refused = store.list::<Row>(select(&["50/"]), &strange).await.map(|p| p.items.len());
        // SQLite compares anything with anything; PostgreSQL does not.
        let good = match store.backend().name() {
            "sqlite" => refused.is_ok(),
            _ => matches!(refused, Err(StoreError::BadCursor)),
        };
        assert!(good, "{refused:?}");
        // Wildcards in what people type are letters.
        let mut wild = select(&["50/"]);
        wild.filter = wild.filter.and(Filter::Contains(vec!["feature"], "9_%".into()));
        assert_eq!(store.select::<Row>(&wild, 500).await.unwrap().len(), 30);
        assert!(store.select::<Row>(&wild, 500).await.unwrap().iter().all(|r| r.feature.ends_with("9_%")));
    })
    .await;
}
