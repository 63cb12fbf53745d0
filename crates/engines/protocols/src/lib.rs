//! Field protocols, pure: bytes in, typed values out, and no clock, socket or table.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`line_protocol`] | InfluxDB's line protocol, as Telegraf and its clients write it |
//! | [`ucum`] | unit codes of UCUM, and how a value in one becomes a value in another |

pub mod line_protocol;
pub mod ucum;
