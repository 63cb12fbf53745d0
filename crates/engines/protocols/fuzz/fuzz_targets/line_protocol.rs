//! Whatever a client sends is read or refused, line by line; what is read keeps its promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocols::line_protocol::{FieldValue, Lines};

fuzz_target!(|body: &[u8]| {
    let mut lines = Lines::new(body);
    let mut last = 0;
    while let Some(line) = lines.read() {
        match line {
            Ok(line) => {
                assert!(line.number > last && !line.fields.is_empty());
                last = line.number;
                for field in line.fields {
                    assert!(!field.key.bytes().is_empty());
                    if let FieldValue::Float(v) = field.value {
                        assert!(v.is_finite());
                    }
                }
                if let Ok(series) = line.series() {
                    assert!(!series.measurement().raw().is_empty());
                    assert!(series.tags().all(|(k, v)| !k.raw().is_empty() && !v.raw().is_empty()));
                }
            }
            Err(error) => {
                assert!(error.line > last && error.column >= 1 && error.column <= error.text.len() + 1);
                last = error.line;
                assert!(!error.to_string().is_empty());
            }
        }
    }
});
