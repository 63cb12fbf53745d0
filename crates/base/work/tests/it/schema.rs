//! Every statement is understood by both databases.

use store::testing::{on_each, refused_statements};

#[tokio::test]
async fn every_statement_is_understood_by_both() {
    on_each(|store| async move {
        let refused = refused_statements(&store, &work::statements()).await.unwrap();
        assert!(refused.is_empty(), "{refused:#?}");
    })
    .await;
}
