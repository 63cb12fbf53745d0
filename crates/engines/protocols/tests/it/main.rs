//! The codecs through their public face.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod line_protocol;
mod ucum;
