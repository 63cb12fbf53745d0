//! Zhongshu (中枢), the operations hub of a city: configuration, HTTP, pages, pack loading, wiring.
//!
//! This crate alone knows all the others. [`hub::Hub`] is the running hub; [`commands`] are the
//! doors of set-up, the same in demo and production.

pub mod commands;
pub mod config;
pub mod http;
pub mod hub;
pub mod packs;
pub mod services;
pub mod telemetry;
pub mod tls;

pub use config::Config;
pub use hub::Hub;
