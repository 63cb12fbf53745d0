//! What citysim promises, through its public face.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod broker;
mod city;
mod client;
mod fleet;
mod gateway;
mod pack;
