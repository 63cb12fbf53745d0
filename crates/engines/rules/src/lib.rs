//! The rules that samples are judged by.
//!
//! A pack declares its rules in `rules.toml`; [`declare::parse`] reads them. [`Engine`] compiles
//! each for the datastreams it applies to into plain numbers, takes samples and returns
//! [`Effect`]s: an alert opens, changes its severity, resolves. It has no clock, does no I/O and
//! decides nothing by chance: the same samples give the same effects, which is what the replay
//! after a restart rests on.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`declare`] | what a pack writes, and why it is refused |
//! | [`engine`] | the compiled rules of every datastream, and the effects |
//! | `below` | the life of one alert of the kind `below`: hysteresis and samples in a row |
//! | `silence` | the life of one alert of the kind `silence`: deadlines by the clock of receipt |

pub mod declare;
pub mod engine;

mod below;
mod silence;

pub use declare::{Kind, Level, RuleDecl, RuleError, parse};
pub use engine::{Effect, Engine, StateError, Threshold};
