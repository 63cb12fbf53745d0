//! The gateway seen from a socket: a client of the test's own, devices from a table, and a store
//! whose every commit is in the test's hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so and ends")]

mod acknowledge;
mod ask;
mod clients;
mod codec;
mod commands;
mod conformance;
mod connect;
mod durable;
mod harness;
mod integrators;
mod interoperability;
mod limits;
mod payload;
mod publish;
mod stop;
mod tls;
mod topic;
