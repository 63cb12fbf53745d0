//! The data representations of the standard (1.5), taken from the front of a slice.

use std::num::NonZeroU16;

use super::Fault;

const SHORT: Fault = Fault::Malformed("it ends before its fields do");

/// Fields of a packet, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn two(&mut self) -> Result<u16, Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*taken))
    }

    pub(super) fn four(&mut self) -> Result<u32, Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken))
    }

    /// Variable byte integer (1.5.5): at most four bytes, in as few as it takes.
    pub(super) fn variable(&mut self) -> Result<u32, Fault> {
        match variable(self.0)? {
            Some((value, n)) => {
                self.0 = &self.0[n..];
                Ok(value)
            }
            None => Err(SHORT),
        }
    }

    /// A packet identifier, never 0 (2.2.1-3, 2.3.1-1).
    pub(super) fn packet_id(&mut self) -> Result<NonZeroU16, Fault> {
        NonZeroU16::new(self.two()?).ok_or(Fault::Malformed("packet identifier is 0"))
    }

    /// Binary data (1.5.6).
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let n = self.two()?;
        self.bytes(usize::from(n))
    }

    /// A UTF-8 string (1.5.4) that may hold U+0000, which the caller judges: a topic.
    pub(super) fn topic(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.binary()?).map_err(|_| Fault::Malformed("a string is not UTF-8"))
    }

    /// A UTF-8 string without U+0000 (1.5.4-2).
    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let text = self.topic()?;
        if text.as_bytes().contains(&0) { Err(Fault::Malformed("a string holds U+0000")) } else { Ok(text) }
    }
}

/// A variable byte integer at the front and how long it is; `None` when it is not all there.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let mut value = 0u32;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            if *byte == 0 && at > 0 {
                return Err(Fault::Malformed("a length is written longer than it is"));
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Fault::Malformed("a length has no end")) } else { Ok(None) }
}
