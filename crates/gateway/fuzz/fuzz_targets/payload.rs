//! Whatever a device sends is read or refused; what is read keeps the promises of the decoders.
#![no_main]

use gateway::payload::{MAX_MAGNITUDE, MAX_OBSERVATIONS, decode, decode_observation};
use libfuzzer_sys::fuzz_target;
use model::observation::Columns;
use model::{DatastreamKey, Micros};

fuzz_target!(|bytes: &[u8]| {
    for decode in [decode, decode_observation] {
        let mut out = Columns::default();
        match decode(bytes, DatastreamKey(1), Micros(1_795_501_925_120_000), &mut out) {
            Ok(()) => {
                assert!((1..=MAX_OBSERVATIONS).contains(&out.len()));
                assert!(out.iter().all(|s| s.value.abs() <= MAX_MAGNITUDE && s.time.0 >= 0));
            }
            Err(error) => {
                assert!(out.is_empty());
                assert!(!error.to_string().is_empty());
            }
        }
    }
});
