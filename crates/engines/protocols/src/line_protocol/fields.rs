//! The fields of a line.

use super::error::Reason;
use super::escaped::{Escaped, find};
use super::number;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its key.
    pub key: Escaped<'a>,
    /// Its value.
    pub value: FieldValue<'a>,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// `1.5`, `-3`, `2e-7`; finite.
    Float(f64),
    /// `2i`
    Integer(i64),
    /// `2u`
    Unsigned(u64),
    /// `t`, `T`, `true`, `True`, `TRUE` and the same of false.
    Boolean(bool),
    /// `"text"`
    String(Escaped<'a>),
}

impl FieldValue<'_> {
    /// The value as a double: an integer beyond 2⁵³ is rounded, true is 1; `None` for a string.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Float(v) => Some(*v),
            Self::Integer(v) => Some(*v as f64),
            Self::Unsigned(v) => Some(*v as f64),
            Self::Boolean(v) => Some(f64::from(u8::from(*v))),
            Self::String(_) => None,
        }
    }
}

/// Reads the fields that `bytes` begins with into `fields`; how many bytes they took. The error
/// carries the byte where it was seen.
pub(super) fn read<'a>(bytes: &'a [u8], fields: &mut Vec<Field<'a>>) -> Result<usize, (usize, Reason)> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let length = key_length(rest).map_err(|reason| (at, reason))?;
        let key = Escaped::name(&rest[..length]);
        at += length + 1;
        let (value, took) = value(&bytes[at..]).map_err(|reason| (at, reason))?;
        fields.push(Field { key, value });
        at += took;
        match bytes.get(at) {
            Some(b',') => at += 1,
            _ => return Ok(at),
        }
    }
}

/// How long the key is: up to an equals sign that is not escaped, and before a space or comma.
fn key_length(bytes: &[u8]) -> Result<usize, Reason> {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'=' | b' ' | b',' if escaped => {}
            b'=' if at == 0 => return Err(Reason::MissingFieldKey),
            b'=' => return Ok(at),
            b' ' | b',' => break,
            _ => {}
        }
        escaped = *byte == b'\\';
    }
    Err(Reason::InvalidFieldFormat)
}

/// The value at the beginning of `bytes`, and how many bytes it takes.
fn value(bytes: &[u8]) -> Result<(FieldValue<'_>, usize), Reason> {
    match bytes.first() {
        None | Some(b',' | b' ') => Err(Reason::MissingFieldValue),
        // InfluxDB knows no NaN, and says so as of a number.
        Some(b'0'..=b'9' | b'.' | b'-' | b'N' | b'n') => number::read(bytes),
        Some(b'"') => {
            let length = string_length(&bytes[1..]).ok_or(Reason::UnbalancedQuotes)?;
            match bytes.get(length + 2) {
                None | Some(b',' | b' ') => {
                    Ok((FieldValue::String(Escaped::string(&bytes[1..=length])), length + 2))
                }
                Some(_) => Err(Reason::InvalidFieldFormat),
            }
        }
        Some(_) => {
            let end = memchr::memchr2(b',', b' ', bytes).unwrap_or(bytes.len());
            match &bytes[..end] {
                b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok((FieldValue::Boolean(true), end)),
                b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok((FieldValue::Boolean(false), end)),
                _ => Err(Reason::InvalidBoolean),
            }
        }
    }
}

/// How many bytes stand before the quote that ends the string.
pub(super) fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[next] == b'"' {
            return Some(next);
        }
        at = next + if matches!(bytes.get(next + 1), Some(b'"' | b'\\')) { 2 } else { 1 };
    }
}

/// Where the part before the fields ends.
pub(super) fn key_end(line: &[u8]) -> usize {
    find(b' ', line).unwrap_or(line.len())
}
