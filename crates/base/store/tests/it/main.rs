//! Tests of the store through its public face, on SQLite and PostgreSQL.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod audit;
mod commands;
mod events;
mod lists;
mod schema;

use model::{Actor, AreaPath, Context};
use store::new_id;

pub fn context() -> Context {
    Context::system("test", new_id())
}

pub fn person(key: Option<&str>) -> Context {
    Context {
        actor: Actor::Person { id: uuid::Uuid::nil(), name: "somebody".into() },
        grants: vec![],
        request_id: new_id(),
        idempotency_key: key.map(Into::into),
    }
}

pub fn area() -> AreaPath {
    AreaPath::parse("50/500112/").unwrap()
}
