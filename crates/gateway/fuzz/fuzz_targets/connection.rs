//! Whatever bytes a connection brings, the decoder says packets, faults, or that more must come; it
//! never falls, never reads beyond, and gives the same for the same bytes however they are cut.
#![no_main]

use gateway::codec::connect::{Opening, connect, opening};
use gateway::codec::read::{frame, packet};
use gateway::codec::{Fault, Version};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 65_536;

fuzz_target!(|bytes: &[u8]| {
    let Opening::Connect(opened) = opening(bytes) else {
        for version in [Version::V3, Version::V5] {
            walk(bytes, version);
        }
        return;
    };
    match frame(bytes, MOST) {
        Ok(Some(first)) => {
            if let Ok(said) = connect(first.body) {
                assert_eq!(said.version, opened);
                assert_eq!(said.properties.users().count(), said.properties.user_properties);
            }
            walk(&bytes[first.length..], opened);
        }
        Ok(None) => assert!(bytes.len() < MOST),
        Err(Fault::TooLarge(length)) => assert!(length > MOST),
        Err(_) => {}
    }
});

fn walk(mut rest: &[u8], version: Version) {
    loop {
        match frame(rest, MOST) {
            Ok(Some(next)) => {
                assert!(next.length >= 2 && next.length <= rest.len());
                for cut in 0..next.length.min(8) {
                    assert!(!matches!(frame(&rest[..cut], MOST), Ok(Some(_))));
                }
                if packet(next, version).is_err() {
                    return;
                }
                rest = &rest[next.length..];
            }
            Ok(None) | Err(_) => return,
        }
    }
}
