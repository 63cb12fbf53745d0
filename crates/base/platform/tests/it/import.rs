//! Files of a city: repeatable, and wrong rows are named.

use platform::area;
use platform::import::{self, ImportError};
use platform::testing::{small_city, system};
use store::testing::on_each;

#[tokio::test]
async fn importing_again_changes_nothing_and_wrong_rows_are_named() {
    on_each(|store| async move {
        small_city(&store).await;
        let before = area::load(&store).await.unwrap().all().to_vec();
        small_city(&store).await;
        assert_eq!(area::load(&store).await.unwrap().all(), before);
        for (rows, line, reason) in [
            ("60,nowhere,,名,Name", 2, "no level"),
            ("60,district,99,名,Name", 2, "no parent"),
            ("60,city,500112,名,Name", 2, "cannot hang"),
            ("a b,district,50,名,Name", 2, "not an area path"),
            ("60,district,50,名,Name\n60,district,50,名,Name", 3, "stands twice"),
            ("60,district,50", 2, "has 3 cells"),
        ] {
            let text = format!("code,level,parent,name_zh,name_en\n{rows}\n");
            let Err(ImportError::Rows(wrong)) = import::areas(&store, &system(), &text).await else {
                panic!("{rows} was taken")
            };
            assert_eq!(wrong[0].line, line, "{wrong:?}");
            assert!(wrong[0].reason.contains(reason), "{wrong:?}");
        }
        assert_eq!(area::load(&store).await.unwrap().all(), before, "nothing of a wrong file is written");
        let features = r#"{"type":"FeatureCollection","area":"jz","features":[
            {"type":"Feature","properties":{"kind":"building","area":"jz-01"},"geometry":{"type":"Point","coordinates":[1,2]}},
            {"type":"Feature","properties":{"kind":"road"},"geometry":{"type":"Point","coordinates":[1,2]}}]}"#;
        assert_eq!(import::features(&store, &system(), features).await.unwrap(), 2);
        assert_eq!(import::features(&store, &system(), features).await.unwrap(), 2);
        let estate = area::load(&store).await.unwrap().by_code("jz").unwrap();
        assert_eq!(area::features(&store, &estate.path).await.unwrap().len(), 2);
    })
    .await;
}
