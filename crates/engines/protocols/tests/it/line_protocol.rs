//! Lines as clients write them, lines nobody should write, and lines at random.

use proptest::prelude::*;
use protocols::line_protocol::{FieldValue, Lines, Precision};

/// Every line of a body, shown: `measurement|tag=value|field:value|timestamp`, or the error.
fn shown(body: &[u8]) -> Vec<String> {
    let mut lines = Lines::new(body);
    let mut all = Vec::new();
    while let Some(line) = lines.read() {
        let line = match line.and_then(|line| line.series().map(|series| (line, series))) {
            Err(error) => {
                all.push(error.to_string());
                continue;
            }
            Ok((line, series)) => {
                let mut text = series.measurement().text().into_owned();
                for (key, value) in series.tags() {
                    text.push_str(&format!("|{}={}", key.text(), value.text()));
                }
                for field in line.fields {
                    let value = match field.value {
                        FieldValue::Float(v) => format!("{v:?}"),
                        FieldValue::Integer(v) => format!("{v}i"),
                        FieldValue::Unsigned(v) => format!("{v}u"),
                        FieldValue::Boolean(v) => format!("{v}"),
                        FieldValue::String(v) => format!("{:?}", v.text()),
                    };
                    text.push_str(&format!("|{}:{value}", field.key.text()));
                }
                let time = line.timestamp.map_or("-".to_owned(), |t| t.to_string());
                format!("{text}|{time}")
            }
        };
        all.push(line);
    }
    all
}

#[test]
fn lines_are_read_as_their_writers_mean_them() {
    for (body, expected) in [
        ("cpu value=1", "cpu|value:1.0|-"),
        ("cpu,host=a value=1 17", "cpu|host=a|value:1.0|17"),
        (
            "cpu,host=a,zone=b v=1.5,w=-2i,x=3u,y=t,z=\"s\" -1",
            "cpu|host=a|zone=b|v:1.5|w:-2i|x:3u|y:true|z:\"s\"|-1",
        ),
        // Escapes of names: comma, equals sign and space; elsewhere a backslash is itself.
        ("a\\ b\\,c,k\\ 1\\=2=v\\ 1\\,2\\=3 f\\ \\=\\,1=1", "a b,c|k 1=2=v 1,2=3|f =,1:1.0|-"),
        ("c\\pu,h=x\\y v=1", "c\\pu|h=x\\y|v:1.0|-"),
        ("m,h=a\\\\\\,b v=1", "m|h=a\\\\,b|v:1.0|-"),
        // Strings: quotes and backslashes escaped, everything else as it is, line feeds too.
        ("m s=\"a \\\"b\\\" \\\\ c,d=e\\n\"", "m|s:\"a \\\"b\\\" \\\\ c,d=e\\\\n\"|-"),
        ("m s=\"one\ntwo\",v=2 5", "m|s:\"one\\ntwo\"|v:2.0|5"),
        ("m s=\"\"", "m|s:\"\"|-"),
        ("\"m\",t=\"x\" v=1", "\"m\"|t=\"x\"|v:1.0|-"),
        ("温度,区=渝北 值=21.5", "温度|区=渝北|值:21.5|-"),
        // Blanks and ends.
        ("  m v=1 7\r", "m|v:1.0|7"),
        ("m   v=1    7   ", "m|v:1.0|7"),
        ("m v=1 ", "m|v:1.0|-"),
        // Numbers.
        ("m a=1.,b=.5,c=1e3,d=-1.5E-2,e=1e+2,f=-0", "m|a:1.0|b:0.5|c:1000.0|d:-0.015|e:100.0|f:-0.0|-"),
        (
            "m a=9223372036854775807i,b=-9223372036854775808i",
            "m|a:9223372036854775807i|b:-9223372036854775808i|-",
        ),
        ("m a=18446744073709551615u,b=0i", "m|a:18446744073709551615u|b:0i|-"),
        ("m a=T,b=TRUE,c=True,d=f,e=False", "m|a:true|b:true|c:true|d:false|e:false|-"),
        ("m v=1 -9223372036854775808", "m|v:1.0|-9223372036854775808"),
    ] {
        assert_eq!(shown(body.as_bytes()), [expected], "{body:?}");
    }
}

#[test]
fn wrong_lines_are_told_in_influxdbs_words_with_their_place() {
    for (line, reason, column) in [
        ("cpu", "missing fields", 4),
        ("cpu,host=a ", "missing fields", 11),
        (",host=a v=1", "missing measurement", 1),
        ("cpu,=a v=1", "missing tag key", 5),
        ("cpu, v=1", "missing tag key", 4),
        ("cpu,h=a, v=1", "missing tag key", 8),
        ("cpu,h=a,,i=b v=1", "missing tag key", 9),
        ("cpu,host v=1", "missing tag value", 5),
        ("cpu,host= v=1", "missing tag value", 5),
        ("cpu,a=b,host=a=b v=1", "invalid tag format", 9),
        ("cpu,a=1,b=2,a=3 v=1", "duplicate tags", 13),
        ("cpu =1", "missing field key", 5),
        ("cpu a=1,=2", "missing field key", 9),
        ("cpu v=", "missing field value", 7),
        ("cpu v=,w=1", "missing field value", 7),
        ("cpu v", "invalid field format", 5),
        ("cpu v=1,", "invalid field format", 9),
        ("cpu v=1, w=2", "invalid field format", 9),
        ("cpu v=1.2i", "invalid number", 7),
        ("cpu v=1x", "invalid number", 7),
        ("cpu v=--1", "invalid number", 7),
        ("cpu v=-", "invalid number", 7),
        ("cpu v=.", "invalid number", 7),
        ("cpu v=1e", "invalid number", 7),
        ("cpu v=1e999", "invalid number", 7),
        ("cpu v=NaN", "invalid number", 7),
        ("cpu v=-1u", "invalid number", 7),
        ("cpu v=9223372036854775808i", "unable to parse integer: value out of range", 7),
        ("cpu v=18446744073709551616u", "unable to parse integer: value out of range", 7),
        ("cpu v=tru", "invalid boolean", 7),
        ("cpu v=+1", "invalid boolean", 7),
        ("cpu v=\"a", "unbalanced quotes", 7),
        ("cpu v=\"a\"b", "invalid field format", 7),
        ("cpu v=1 noon", "bad timestamp", 9),
        ("cpu v=1 1 2", "bad timestamp", 9),
        ("cpu v=1 9223372036854775808", "bad timestamp", 9),
        ("cpu v=1 -", "bad timestamp", 9),
    ] {
        let expected = format!("unable to parse '{line}': {reason} (line 1, column {column})");
        assert_eq!(shown(line.as_bytes()), [expected], "{line:?}");
    }
    let long = format!("m,t={} v=1", "x".repeat(70_000));
    let error = &shown(long.as_bytes())[0];
    assert!(error.contains("…': max key length exceeded: 70004 > 65535 (line 1"), "{error}");
    assert!(error.len() < 400, "an error does not repeat a line of any length");
}

#[test]
fn a_wrong_line_takes_no_other_along_and_lines_are_counted() {
    let body = "# a \"comment\n\n  \r\nm v=1\r\nbroken\nm v=2\n\n\"\nm s=\"x\ny\"\nlast v=";
    assert_eq!(
        shown(body.as_bytes()),
        [
            "m|v:1.0|-",
            "unable to parse 'broken': missing fields (line 5, column 7)",
            "m|v:2.0|-",
            "unable to parse '\"': missing fields (line 8, column 2)",
            "m|s:\"x\\ny\"|-",
            "unable to parse 'last v=': missing field value (line 11, column 8)",
        ]
    );
    assert!(shown(b"").is_empty() && shown(b"\n\n#x").is_empty());
    let many: String = (0..40).map(|n| format!(",t{n}=v")).collect();
    assert!(shown(format!("m{many} v=1").as_bytes())[0].starts_with("m|t0=v|"));
    assert!(shown(format!("m{many},t3=w v=1").as_bytes())[0].contains("duplicate tags"));
}

#[test]
fn precisions_of_both_apis() {
    for (name, expected) in [
        ("", Some(1)),
        ("n", Some(1)),
        ("ns", Some(1)),
        ("u", Some(1500)),
        ("us", Some(1500)),
        ("µ", Some(1500)),
        ("ms", Some(1_500_000)),
        ("s", Some(1_500_000_000)),
        ("m", Some(90_000_000_000)),
        ("h", Some(5_400_000_000_000)),
    ] {
        assert_eq!(Precision::parse(name).unwrap().micros(1500), expected, "{name}");
    }
    assert_eq!(Precision::Nanoseconds.micros(-1), Some(-1), "the microsecond it lies in");
    assert_eq!(Precision::Hours.micros(i64::MAX), None);
    assert!(Precision::parse("d").is_err());
}

fn name() -> impl Strategy<Value = String> {
    // A backslash at the end would escape what follows; the protocol has no way to write it.
    "[a-z \\\\,=温\"#]{0,6}[a-z]"
}

fn escape(name: &str) -> String {
    name.chars().flat_map(|c| matches!(c, ',' | '=' | ' ').then_some('\\').into_iter().chain([c])).collect()
}

fn value() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(|v| (format!("{v:?}"), format!("{v:?}"))),
        any::<f64>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(|v| (format!("{v}"), format!("{v:?}"))),
        any::<i64>().prop_map(|v| (format!("{v}i"), format!("{v}i"))),
        any::<u64>().prop_map(|v| (format!("{v}u"), format!("{v}u"))),
        any::<bool>().prop_map(|v| (v.to_string(), v.to_string())),
        ".{0,8}".prop_map(|v| {
            (format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")), format!("{v:?}"))
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        lines in prop::collection::vec((
            name(),
            prop::collection::btree_map(name(), name(), 0..4),
            prop::collection::vec((name(), value()), 1..4),
            any::<Option<i64>>(),
        ), 0..4),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n# comment\n")],
    ) {
        let (mut body, mut expected) = (String::new(), Vec::new());
        for (measurement, tags, fields, time) in lines {
            if measurement.starts_with([' ', '#', ',']) {
                continue; // a blank, a comment; a comma is escaped, but leading blanks are cut
            }
            let mut text = measurement.clone();
            body.push_str(&escape(&measurement));
            for (key, value) in &tags {
                body.push_str(&format!(",{}={}", escape(key), escape(value)));
                text.push_str(&format!("|{key}={value}"));
            }
            for (n, (key, (written, meant))) in fields.iter().enumerate() {
                body.push_str(&format!("{}{}={written}", if n == 0 { ' ' } else { ',' }, escape(key)));
                text.push_str(&format!("|{key}:{meant}"));
            }
            if let Some(time) = time {
                body.push_str(&format!(" {time}"));
            }
            body.push_str(end);
            expected.push(format!("{text}|{}", time.map_or("-".to_owned(), |t| t.to_string())));
        }
        prop_assert_eq!(shown(body.as_bytes()), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        shown(&body);
    }

    #[test]
    fn bytes_that_look_like_lines_are_read_or_refused(body in "[mv=, \"\\\\\n#1.e-]{0,60}") {
        // Every line that is no comment and not blank is either read or told.
        let lines = shown(body.as_bytes());
        prop_assert!(lines.len() <= body.lines().count() + 1);
    }

    #[test]
    fn floats_are_exactly_rounded(text in "-?[0-9]{0,20}\\.?[0-9]{1,22}(e-?[0-9]{1,3})?") {
        let expected: f64 = text.parse().unwrap();
        let body = format!("m v={text}");
        let mut lines = Lines::new(body.as_bytes());
        match lines.read().unwrap() {
            Ok(line) => match line.fields[0].value {
                FieldValue::Float(v) => prop_assert_eq!(v.to_bits(), expected.to_bits(), "{}", text),
                ref other => prop_assert!(false, "{other:?}"),
            },
            Err(_) => prop_assert!(expected.is_infinite()),
        }
    }

    #[test]
    fn short_decimals_are_exactly_rounded(mantissa in 0u64..10_000_000_000_000_000, places in 0usize..25) {
        let digits = format!("{mantissa:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let text = format!("{whole}.{fraction}0");
        let body = format!("m v={text}");
        let mut lines = Lines::new(body.as_bytes());
        let value = lines.read().unwrap().unwrap().fields[0].value.number().unwrap();
        prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
    }
}
