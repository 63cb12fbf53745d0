//! InfluxDB's line protocol, as the write endpoints of its versions 1.x and 2.x take it:
//! `measurement,tag=value field=1.5,other=2i 1795501925120000000`.
//!
//! [`Lines`] walks a body line by line and allocates nothing for a line: names stay borrowed and
//! escaped ([`Escaped`]), numbers are parsed where they stand. The part before the fields, which
//! repeats from line to line, is not looked into: [`Line::key`] is what a cache is keyed by, and
//! [`Line::series`] reads and checks it for whoever has not seen it yet.
//!
//! What is wrong with a line is worded as InfluxDB words it ([`Reason`]), since clients match on
//! it, and a wrong line never takes the lines after it along.

mod error;
mod escaped;
mod fields;
mod lines;
mod number;
mod precision;
mod series;

pub use error::{LineError, Reason};
pub use escaped::Escaped;
pub use fields::{Field, FieldValue};
pub use lines::{Line, Lines, MAX_KEY};
pub use precision::{BadPrecision, Precision};
pub use series::{Series, Tags};
