use crate::on_each;

#[tokio::test]
async fn both_databases_take_every_statement() {
    on_each(|database| async move {
        let store = database.open().await.unwrap();
        let refused = store::testing::refused_statements(&store, &watch::statements()).await.unwrap();
        assert_eq!(refused, Vec::<String>::new());
        store.stop().await;
    })
    .await;
}
