//! Names and strings as they stand in the body, unescaped when somebody asks.

use std::borrow::Cow;

/// A part of a line that may hold escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a> {
    raw: &'a [u8],
    string: bool,
}

impl<'a> Escaped<'a> {
    /// A measurement, a key or a tag's value, where `\` escapes a comma, an equals sign and a
    /// space, and is itself everywhere else.
    pub(super) fn name(raw: &'a [u8]) -> Self {
        Self { raw, string: false }
    }

    /// What stands between quotes, where `\` escapes a quote and itself.
    pub(super) fn string(raw: &'a [u8]) -> Self {
        Self { raw, string: true }
    }

    /// The bytes as they stand in the body.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The bytes meant; borrowed when nothing was escaped.
    #[must_use]
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        if memchr::memchr(b'\\', self.raw).is_none() {
            return Cow::Borrowed(self.raw);
        }
        let mut bytes = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some((first, tail)) = rest.split_first() {
            rest = match tail.split_first() {
                Some((next, after)) if *first == b'\\' && self.escapes(*next) => {
                    bytes.push(*next);
                    after
                }
                _ => {
                    bytes.push(*first);
                    tail
                }
            };
        }
        Cow::Owned(bytes)
    }

    /// The text meant; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        match self.bytes() {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    fn escapes(&self, byte: u8) -> bool {
        if self.string { matches!(byte, b'"' | b'\\') } else { matches!(byte, b',' | b'=' | b' ') }
    }
}

/// The first `delimiter` that no backslash stands before: outside strings a backslash is an
/// escape exactly when a delimiter follows, so that two of them before a comma are a backslash
/// and an escaped comma.
pub(super) fn find(delimiter: u8, bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(delimiter, bytes).find(|at| *at == 0 || bytes[at - 1] != b'\\')
}
