//! The transactional state of the hub: SQLite or PostgreSQL by one code path.
//!
//! A change goes in by [`Store::command`] and by nothing else: its rows, its outbox events and
//! its audit entry commit in one transaction, and commands that arrive together share one. What
//! changed comes out as [`model::Event`]s, which durable subscribers ([`Store::subscribe`]) read
//! in an order given after the commit. Reading goes through [`Store::read`].
//!
//! | module | what is there |
//! | --- | --- |
//! | [`audit`] | what was done, as a chain of hashes |
//! | [`backup`] | a consistent copy of a database in use, and the way back |
//! | [`database`] | opening either database, its settings, one hub a database |
//! | [`sql`] | values, rows and statements that are the same text on both |
//! | [`command`] | the transaction a command runs in: numbers, audit, idempotency |
//! | [`writer`] | group commit: the task that runs commands together |
//! | [`outbox`] | events, their order, cursors and subscribers |
//! | [`filter`] | the typed filter tree of lists, scope included, and cursor paging |
//! | `testing` | temporary databases for tests (feature `testing`) |
//!
//! Statements are `const` texts declared by [`statements!`], so that a test can describe each of
//! them on both databases. Times are integer microseconds, ids are UUIDs, documents are JSON text.

pub mod audit;
pub mod backup;
pub mod command;
pub mod database;
pub mod filter;
pub mod outbox;
pub mod sql;
#[cfg(feature = "testing")]
pub mod testing;
pub mod writer;

mod clock;
mod error;
mod migrate;

pub use clock::{new_id, now};
pub use command::Tx;
pub use database::{Backend, Store, StoreConfig};
pub use error::StoreError;
pub use filter::{Filter, Order, Page, PageRequest, Select};
pub use sql::{FromAnyRow, Value};
