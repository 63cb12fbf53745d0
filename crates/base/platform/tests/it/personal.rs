//! Personal data: encrypted at rest, masked, found by the whole number, revealed with a reason.

use axum::http::StatusCode;
use platform::SecondFactor;
use serde_json::{Value, json};
use store::testing::on_each;

use crate::accounts::{ESTATE, World};

const PHONE: &str = "13800001234";
const ID_NUMBER: &str = "11010519491231002X";

#[tokio::test]
async fn a_number_is_masked_found_and_revealed_with_a_reason() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("admin", "system-administrator", "50/", false).await;
        world.account("beyond", "system-administrator", &format!("{ESTATE}jz-02/"), false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let (admin, beyond) = (world.log_in("admin").await, world.log_in("beyond").await);
        let path = format!("/api/v1/people/{id}/personal");
        let value = |field: &str, value: Option<&str>| json!({ "field": field, "value": value });
        for (field, given, status) in [
            ("phone", "138 0000 1234", StatusCode::NO_CONTENT),
            ("id-number", "11010519491231002x", StatusCode::NO_CONTENT),
            ("phone", "nonsense", StatusCode::UNPROCESSABLE_ENTITY),
            ("id-number", "110105194912310021", StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let (got, problem) = admin.ask("PUT", &path, Some(value(field, Some(given)))).await;
            assert_eq!(got, status, "{given}: {problem}");
        }
        let (_, masked) = admin.get(&path).await;
        assert_eq!(masked, json!({ "phone": "138****1234", "id_number": "110*************2X" }));

        // Nowhere in the database does a number stand readable.
        type Row = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);
        let sql = "SELECT phone, phone_index, id_number, id_number_index FROM people WHERE phone IS NOT NULL";
        let rows: Vec<Row> = world.store.read().all(sql, vec![]).await.unwrap();
        let (phone, phone_index, number, number_index) = rows[0].clone();
        for (kept, plain) in
            [(&phone, PHONE), (&phone_index, PHONE), (&number, ID_NUMBER), (&number_index, ID_NUMBER)]
        {
            assert!(!kept.windows(plain.len()).any(|w| w == plain.as_bytes()));
        }
        let details: Vec<(String,)> =
            world.store.read().all("SELECT detail FROM audit", vec![]).await.unwrap();
        assert!(details.iter().all(|(d,)| !d.contains(PHONE) && !d.contains(ID_NUMBER)));

        let find = |field: &str, value: &str| json!({ "field": field, "value": value });
        for (browser, field, number, count) in [
            (&admin, "phone", "+86 138-0000-1234", 1),
            (&admin, "phone", "13800001235", 0),
            (&admin, "id-number", ID_NUMBER, 1),
            (&beyond, "phone", PHONE, 0),
        ] {
            let (status, found) = browser.post("/api/v1/people/find", find(field, number)).await;
            assert_eq!(
                (status, found["items"].as_array().unwrap().len()),
                (StatusCode::OK, count),
                "{number}"
            );
        }

        let reveal = |reason: &str| json!({ "field": "phone", "reason": reason });
        let reveal_path = format!("{path}/reveal");
        assert_eq!(admin.post(&reveal_path, reveal(" ")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(beyond.post(&reveal_path, reveal("why")).await.0, StatusCode::NOT_FOUND);
        let (status, shown) = admin.post(&reveal_path, reveal("灭火后核实住户")).await;
        assert_eq!((status, &shown["value"]), (StatusCode::OK, &json!(PHONE)));
        let sql = "SELECT detail, actor_name FROM audit WHERE action = 'personal:reveal'";
        let entries: Vec<(String, String)> = world.store.read().all(sql, vec![]).await.unwrap();
        assert_eq!(entries.len(), 1, "each reveal, and no refusal");
        let detail: Value = serde_json::from_str(&entries[0].0).unwrap();
        assert_eq!(detail, json!({ "field": "phone", "reason": "灭火后核实住户" }));

        assert_eq!(admin.ask("PUT", &path, Some(value("phone", None))).await.0, StatusCode::NO_CONTENT);
        assert_eq!(admin.get(&path).await.1, json!({ "phone": null, "id_number": "110*************2X" }));
        assert_eq!(admin.post(&reveal_path, reveal("why")).await.0, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_new_key_takes_over_and_numbers_are_found_as_before() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("admin", "system-administrator", "50/", false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let admin = world.log_in("admin").await;
        let path = format!("/api/v1/people/{id}/personal");
        admin.ask("PUT", &path, Some(json!({ "field": "phone", "value": PHONE }))).await;
        let sealed = async || -> Vec<u8> {
            let sql = "SELECT phone FROM people WHERE phone IS NOT NULL";
            let rows: Vec<(Vec<u8>,)> = world.store.read().all(sql, vec![]).await.unwrap();
            rows[0].0.clone()
        };
        let before = sealed().await;
        let file = world.folder().join("keys/data.key");
        let old = std::fs::read_to_string(&file).unwrap();
        let new = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        std::fs::write(&file, format!("{new}\n{old}")).unwrap();
        World::open(&world.store, world.folder(), SecondFactor::Optional).await;
        assert_ne!(before[..4], sealed().await[..4], "under the new key");
        std::fs::write(&file, format!("{new}\n")).unwrap();
        let again = World::open(&world.store, world.folder(), SecondFactor::Optional).await;
        let field = platform::personal::PersonalField::Phone;
        assert_eq!(again.find_by_personal(field, PHONE).await.unwrap(), [id]);
        assert_eq!(again.masked_personal(id).await.unwrap().phone.unwrap(), "138****1234");
    })
    .await;
}
