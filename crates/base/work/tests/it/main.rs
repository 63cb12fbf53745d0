//! Tests of the room through its public face, on SQLite and PostgreSQL.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cases;
mod durable;
mod escalation;
mod notified;
mod pack;
mod schema;
mod tasks;
mod world;
