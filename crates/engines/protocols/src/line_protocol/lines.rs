//! A body, line by line.

use super::error::{LineError, Reason};
use super::fields::{Field, key_end, read, string_length};
use super::series::Series;

/// The longest measurement with its tags, in bytes; InfluxDB's own bound.
pub const MAX_KEY: usize = 65_535;

/// Walks the lines of a body. Blank lines and comments (`#`) are passed over; lines end in LF or
/// CRLF; a line feed inside a string belongs to the string.
#[derive(Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    number: u64,
    /// Kept from line to line, so that no line allocates.
    fields: Vec<Field<'a>>,
}

/// A line that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line<'a, 'f> {
    /// Its number in the body, from 1.
    pub number: u64,
    /// The whole line, without its end.
    pub text: &'a [u8],
    /// Measurement and tags as they stand there, not checked yet.
    pub key: &'a [u8],
    /// Its fields, at least one.
    pub fields: &'f [Field<'a>],
    /// Its timestamp, in the precision of the body.
    pub timestamp: Option<i64>,
}

impl<'a> Line<'a, '_> {
    /// Measurement and tags, checked.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn series(&self) -> Result<Series<'a>, LineError<'a>> {
        Series::read(self.key).map_err(|(at, reason)| LineError {
            text: self.text,
            line: self.number,
            column: at + 1,
            reason,
        })
    }
}

impl<'a> Lines<'a> {
    /// The lines of `body`.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body, number: 0, fields: Vec::new() }
    }

    /// The next line; `None` at the end of the body. After an error the line after the wrong one
    /// comes.
    pub fn read(&mut self) -> Option<Result<Line<'a, '_>, LineError<'a>>> {
        let (text, number) = self.next_text()?;
        self.fields.clear();
        Some(match parse(text, &mut self.fields) {
            Ok((key, timestamp)) => Ok(Line { number, text, key, fields: &self.fields, timestamp }),
            Err((at, reason)) => Err(LineError { text, line: number, column: at + 1, reason }),
        })
    }

    /// The next line that is neither blank nor a comment, without its end, and its number.
    fn next_text(&mut self) -> Option<(&'a [u8], u64)> {
        loop {
            let blanks = self.rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
            self.rest = &self.rest[blanks..];
            let first = *self.rest.first()?;
            let end = if first == b'#' {
                memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len())
            } else {
                line_end(self.rest)
            };
            let line = &self.rest[..end];
            self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
            self.number += 1;
            if first == b'#' || first == b'\n' {
                continue;
            }
            let number = self.number;
            if memchr::memchr(b'"', line).is_some() {
                self.number += memchr::memchr_iter(b'\n', line).count() as u64;
            }
            return Some((line.strip_suffix(b"\r").unwrap_or(line), number));
        }
    }
}

/// Where the line that `bytes` begins with ends.
fn line_end(bytes: &[u8]) -> usize {
    match memchr::memchr2(b'\n', b'"', bytes) {
        None => bytes.len(),
        Some(at) if bytes[at] == b'\n' => at,
        Some(_) => line_end_with_strings(bytes),
    }
}

/// The same when quotes are about: one that opens a string stands behind an equals sign in the
/// fields, and line feeds up to its end are the string's.
fn line_end_with_strings(bytes: &[u8]) -> usize {
    let mut ends = memchr::memchr2_iter(b'\n', b' ', bytes);
    let Some(mut at) = ends.find(|at| bytes[*at] == b'\n' || *at == 0 || bytes[at - 1] != b'\\') else {
        return bytes.len();
    };
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'\n', b'"', rest)) {
        at += found;
        if bytes[at] == b'\n' {
            return at;
        }
        let opens = at > 0 && bytes[at - 1] == b'=' && (at < 2 || bytes[at - 2] != b'\\');
        at += 1;
        if opens {
            match bytes.get(at..).and_then(string_length) {
                Some(length) => at += length + 1,
                None => return bytes.len(),
            }
        }
    }
    bytes.len()
}

/// The key and the timestamp of a line, whose fields go into `fields`; an error carries the byte
/// where it was seen.
fn parse<'a>(
    line: &'a [u8],
    fields: &mut Vec<Field<'a>>,
) -> Result<(&'a [u8], Option<i64>), (usize, Reason)> {
    let end = key_end(line);
    let key = &line[..end];
    if key.len() > MAX_KEY {
        return Err((0, Reason::KeyTooLong(key.len())));
    }
    if key.first() == Some(&b',') {
        return Err((0, Reason::MissingMeasurement));
    }
    let spaces = |from: usize| line[from..].iter().take_while(|b| **b == b' ').count();
    let start = end + spaces(end);
    if start == line.len() {
        return Err((end, Reason::MissingFields));
    }
    let took = read(&line[start..], fields).map_err(|(at, reason)| (start + at, reason))?;
    let at = start + took;
    let at = at + spaces(at);
    Ok((key, timestamp(&line[at..]).map_err(|reason| (at, reason))?))
}

/// A 64-bit integer and nothing behind it but blanks; nothing at all is no timestamp.
fn timestamp(bytes: &[u8]) -> Result<Option<i64>, Reason> {
    let bytes = bytes.trim_ascii_end();
    let Some(first) = bytes.first() else { return Ok(None) };
    let negative = *first == b'-';
    let digits = &bytes[usize::from(negative)..];
    if digits.is_empty() || digits.len() > 19 {
        return Err(Reason::BadTimestamp);
    }
    let mut value = 0i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(Reason::BadTimestamp);
        }
        let digit = i64::from(byte - b'0');
        let next = value
            .checked_mul(10)
            .and_then(|v| if negative { v.checked_sub(digit) } else { v.checked_add(digit) });
        value = next.ok_or(Reason::BadTimestamp)?;
    }
    Ok(Some(value))
}
