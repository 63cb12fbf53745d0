//! The standard's statements, each shown on the wire. `docs/mqtt.md` says which test shows which.

pub mod connect;
pub mod delivery;
pub mod malformed;
pub mod properties;
pub mod publish;
pub mod qos;
pub mod raw;
pub mod retain;
pub mod session;
pub mod shared;
pub mod subscribe;
pub mod table;
pub mod will;
