//! Tests of the whole hub: over HTTP and MQTT, on SQLite and PostgreSQL.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accounts;
mod backup;
mod city;
mod crash;
mod demo;
mod disk;
mod faults;
mod load;
mod openapi;
mod packs;
mod query;
mod restart;
mod routes;
mod s3;
mod story;
mod sweep;
mod upgrade;
