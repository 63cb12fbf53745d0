//! Payloads: the forms taken, the reasons given, and that nothing makes the reader fall.

use gateway::payload::{MAX_MAGNITUDE, MAX_OBSERVATIONS, decode};
use model::observation::Columns;
use model::observation::quality::{FROM_THE_FUTURE, TIME_OF_RECEIPT};
use model::{DatastreamKey, Micros};
use proptest::prelude::*;

use crate::harness::NOW;

fn read(payload: &[u8]) -> Result<Vec<(i64, f64, u8)>, String> {
    let mut out = Columns::default();
    decode(payload, DatastreamKey(7), NOW, &mut out).map_err(|e| e.to_string())?;
    assert!(out.iter().all(|s| s.datastream == DatastreamKey(7)));
    Ok(out.iter().map(|s| (s.time.0, s.value, s.quality)).collect())
}

#[test]
fn forms_that_are_taken() {
    let now = NOW.0;
    let table: &[(&str, &[(i64, f64, u8)])] = &[
        (r#"{"t":"2026-11-24T14:32:05.120+08:00","v":0.187}"#, &[(now, 0.187, 0)]),
        (r#"{"v":0.187,"t":"2026-11-24T06:32:05.12Z"}"#, &[(now, 0.187, 0)]),
        (r#"{"t":1795501925120,"v":-3}"#, &[(now, -3.0, 0)]),
        (r#"{"t":0,"v":1e3}"#, &[(0, 1000.0, 0)]),
        (r#"{"v":1,"unit":"MPa","x":{"y":[1,2]}}"#, &[(now, 1.0, TIME_OF_RECEIPT)]),
        (r#"{"t":null,"v":1}"#, &[(now, 1.0, TIME_OF_RECEIPT)]),
        (r#"{"t":1795502225120,"v":1}"#, &[(now + 5 * Micros::MINUTE, 1.0, 0)]),
        (r#"{"t":1795502225121,"v":1}"#, &[(now + 5 * Micros::MINUTE + 1000, 1.0, FROM_THE_FUTURE)]),
        (" \n-0.5\n", &[(now, -0.5, TIME_OF_RECEIPT)]),
        ("42", &[(now, 42.0, TIME_OF_RECEIPT)]),
        ("1e15", &[(now, 1e15, TIME_OF_RECEIPT)]),
        (r#"[{"v":9}]"#, &[(now, 9.0, TIME_OF_RECEIPT)]),
        (r#"[{"t":1,"v":1},{"t":2,"v":2}]"#, &[(1000, 1.0, 0), (2000, 2.0, 0)]),
    ];
    for (payload, expected) in table {
        assert_eq!(read(payload.as_bytes()).as_deref(), Ok(*expected), "{payload}");
    }
}

#[test]
fn reasons_that_are_given() {
    let many = format!("[{}]", vec![r#"{"t":1,"v":1}"#; MAX_OBSERVATIONS + 1].join(","));
    let table: &[(&[u8], &str)] = &[
        (b"", "payload is empty"),
        (b"  ", "payload is empty"),
        (b"on", "payload is not JSON: "),
        (b"{\"v\":1", "payload is not JSON: "),
        (b"{\"v\":1}{\"v\":2}", "payload is not JSON: "),
        (b"\xff\xfe", "payload is not JSON: "),
        (b"{\"v\":NaN}", "payload is not JSON: "),
        (b"{\"v\":1e999}", "payload is not JSON: "),
        (b"{}", "payload is not an observation: missing field `v`"),
        (b"{\"v\":\"1\"}", "payload is not an observation: invalid type: string"),
        (b"{\"v\":null}", "payload is not an observation: "),
        (b"{\"v\":1,\"v\":2}", "payload is not an observation: duplicate field `v`"),
        (b"true", "payload is not an observation: "),
        (b"null", "payload is not an observation: "),
        (b"\"1\"", "payload is not an observation: "),
        (b"{\"t\":\"yesterday\",\"v\":1}", "payload is not an observation: t \"yesterday\" is not RFC 3339"),
        (b"{\"t\":1.5,\"v\":1}", "payload is not an observation: "),
        (b"{\"t\":true,\"v\":1}", "payload is not an observation: "),
        (b"{\"t\":1795501925120000,\"v\":1}", "time of observation 1 is not between 1970 and 9999"),
        (b"{\"t\":18446744073709551615,\"v\":1}", "time of observation 1 is not between"),
        (b"{\"t\":-1,\"v\":1}", "time of observation 1 is not between"),
        (b"{\"t\":\"1969-12-31T23:59:59Z\",\"v\":1}", "time of observation 1 is not between"),
        (b"1.1e15", "value 1.1e15 of observation 1 is beyond"),
        (b"-1e300", "value -1e300 of observation 1 is beyond"),
        (b"[]", "payload is an array without an observation"),
        (b"[1,2]", "payload is not an observation: "),
        (b"[{\"t\":1,\"v\":1},{\"v\":2}]", "observation 2 has no t"),
        (b"[{\"t\":1,\"v\":1},{\"t\":2,\"v\":1e16}]", "value 1e16 of observation 2 is beyond"),
        (many.as_bytes(), "payload holds 1001 observations"),
    ];
    for (payload, expected) in table {
        let reason = read(payload).unwrap_err();
        assert!(reason.starts_with(expected), "{}: {reason}", String::from_utf8_lossy(payload));
    }
}

#[test]
fn a_refused_payload_leaves_nothing_behind() {
    let mut out = Columns::default();
    decode(b"1", DatastreamKey(1), NOW, &mut out).unwrap();
    assert!(decode(br#"[{"t":1,"v":1},{"t":2,"v":1e16}]"#, DatastreamKey(1), NOW, &mut out).is_err());
    assert_eq!(out.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_json_like_text_is_read_or_refused(text in r#"[\[\]{}":,tv0-9eE.+\- ]{0,60}"#) {
        if let Ok(samples) = read(text.as_bytes()) {
            prop_assert!(samples.iter().all(|s| s.1.abs() <= MAX_MAGNITUDE && s.0 >= 0));
        }
    }

    /// Value and time come out bit for bit, in each form.
    #[test]
    fn what_is_sent_is_what_is_stored(
        rows in proptest::collection::vec((0i64..4_000_000_000_000, -1e15f64..1e15), 1..40),
        rfc in any::<bool>(),
    ) {
        let items: Vec<String> = rows.iter().map(|(ms, v)| {
            let t = if rfc { format!("{:?}", Micros(ms * 1000).to_string()) } else { ms.to_string() };
            format!(r#"{{"t":{t},"v":{v:?}}}"#)
        }).collect();
        let all = read(format!("[{}]", items.join(", ")).as_bytes()).unwrap();
        prop_assert_eq!(all.len(), rows.len());
        for ((ms, v), (time, value, _)) in rows.iter().zip(&all) {
            prop_assert_eq!((ms * 1000, v.to_bits()), (*time, value.to_bits()));
        }
        let one = read(items[0].as_bytes()).unwrap();
        prop_assert_eq!(one[0], all[0]);
        let bare = read(format!("{:?}", rows[0].1).as_bytes()).unwrap();
        prop_assert_eq!(bare[0].1.to_bits(), rows[0].1.to_bits());
    }
}
