//! The doors of set-up: the same in demo and production. The hub must be stopped for them, since
//! it keeps areas, things and packs in memory. `load` speaks to one that runs, and `backup` reads
//! beside it.

pub mod admin;
pub mod audit;
pub mod backup;
pub mod check;
pub mod contact;
pub mod import;
pub mod load;
pub mod pack;
pub mod restore;
pub mod token;
pub mod vault;

use model::Context;
use store::new_id;

/// Who acts when a command of the shell changes the state.
#[must_use]
pub fn operator(command: &str) -> Context {
    Context::system(&format!("cli:{command}"), new_id())
}
