//! Every statement is understood by both databases.

use store::testing::{on_each, refused_statements};

#[tokio::test]
async fn every_statement_is_understood_by_both() {
    on_each(|store| async move {
        let all = [
            platform::account::STATEMENTS,
            platform::account::LINK_STATEMENTS,
            platform::account::PASSWORD_STATEMENTS,
            platform::area::STATEMENTS,
            platform::duty::STATEMENTS,
            platform::file::STATEMENTS,
            platform::grant::STATEMENTS,
            platform::import::STATEMENTS,
            platform::login::STATEMENTS,
            platform::notice::STATEMENTS,
            platform::notification::contact::STATEMENTS,
            platform::notification::outbox::STATEMENTS,
            platform::notification::record::STATEMENTS,
            platform::notification::run::STATEMENTS,
            platform::notification::tell::STATEMENTS,
            platform::notification::webhook::STATEMENTS,
            platform::pack::STATEMENTS,
            platform::person::STATEMENTS,
            platform::personal::STATEMENTS,
            platform::role::STATEMENTS,
            platform::second_factor::STATEMENTS,
            platform::session::STATEMENTS,
            platform::token::STATEMENTS,
        ]
        .concat();
        let refused = refused_statements(&store, &all).await.unwrap();
        assert!(refused.is_empty(), "{refused:#?}");
    })
    .await;
}
