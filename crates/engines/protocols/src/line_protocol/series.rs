//! What names a line's values: the measurement and the tags.

use super::error::Reason;
use super::escaped::{Escaped, find};

/// How many tags are compared pair by pair; more are sorted first.
const FEW: usize = 16;

/// A measurement with its tags, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series<'a> {
    measurement: Escaped<'a>,
    tags: &'a [u8],
}

impl<'a> Series<'a> {
    /// Reads and checks the part of a line before its fields. The error carries the byte where it
    /// was seen.
    pub(super) fn read(key: &'a [u8]) -> Result<Self, (usize, Reason)> {
        let end = find(b',', key).unwrap_or(key.len());
        if end == 0 {
            return Err((0, Reason::MissingMeasurement));
        }
        let series =
            Self { measurement: Escaped::name(&key[..end]), tags: key.get(end + 1..).unwrap_or(&[]) };
        if end + 1 == key.len() {
            return Err((end, Reason::MissingTagKey));
        }
        let mut at = end + 1;
        let mut count = 0;
        let mut tags = Tags { rest: series.tags };
        while !tags.rest.is_empty() {
            let before = tags.rest.len();
            let (name, value) = tags.checked().map_err(|reason| (at, reason))?;
            if find(b'=', value).is_some() {
                return Err((at, Reason::InvalidTagFormat));
            }
            if count < FEW && (Tags { rest: series.tags }).take(count).any(|(n, _)| n.raw() == name) {
                return Err((at, Reason::DuplicateTags));
            }
            count += 1;
            at += before - tags.rest.len();
            // A comma that nothing follows.
            if tags.rest.is_empty() && key.ends_with(b",") && !key.ends_with(b"\\,") {
                return Err((key.len() - 1, Reason::MissingTagKey));
            }
        }
        if count > FEW {
            let mut names: Vec<&[u8]> = series.tags().map(|(name, _)| name.raw()).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err((end + 1, Reason::DuplicateTags));
            }
        }
        Ok(series)
    }

    /// The measurement.
    #[must_use]
    pub fn measurement(&self) -> Escaped<'a> {
        self.measurement
    }

    /// Key and value of each tag, in the order of the line.
    #[must_use]
    pub fn tags(&self) -> Tags<'a> {
        Tags { rest: self.tags }
    }

    /// The value of the tag with this key.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<Escaped<'a>> {
        self.tags().find(|(name, _)| *name.bytes() == *key.as_bytes()).map(|(_, value)| value)
    }
}

/// The tags of a [`Series`].
#[derive(Clone, Debug)]
pub struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Tags<'a> {
    fn checked(&mut self) -> Result<(&'a [u8], &'a [u8]), Reason> {
        let (tag, rest) = match find(b',', self.rest) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, [].as_slice()),
        };
        self.rest = rest;
        match find(b'=', tag) {
            _ if tag.is_empty() => Err(Reason::MissingTagKey),
            None => Err(Reason::MissingTagValue),
            Some(0) => Err(Reason::MissingTagKey),
            Some(at) if at + 1 == tag.len() => Err(Reason::MissingTagValue),
            Some(at) => Ok((&tag[..at], &tag[at + 1..])),
        }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = (Escaped<'a>, Escaped<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Checked when the series was read.
        let (name, value) = self.checked().ok()?;
        Some((Escaped::name(name), Escaped::name(value)))
    }
}
