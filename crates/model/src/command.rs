//! What goes down to a device, and what comes back for it.
//!
//! Two things go down on `zs/v1/{thing}/command`: an order ([`CommandDown::send`]), whose success
//! shows by what the device does, and a question ([`CommandDown::ask`]), whose answer is looked for
//! ([`Answers`]). A question names itself by a [`Correlation`], which the answer repeats.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{DatastreamKey, Id, Micros};

/// What became of a command sent down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Written to the socket of a connected device that subscribes to its command topic.
    Delivered,
    /// The device is not connected, or does not listen; nothing was sent.
    NotListening,
}

/// Names one question to one device. Written as 32 hexadecimal digits, a hyphen and the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Correlation {
    /// Who asks: the id of a sweep.
    pub asker: Id,
    /// Which of its questions.
    pub number: u32,
}

impl Correlation {
    /// The longest text of one, in bytes.
    pub const LONGEST: usize = 32 + 1 + 10;

    /// Reads what the display writes, as it stands in a payload or in MQTT 5's Correlation Data.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > Self::LONGEST {
            return None;
        }
        let (asker, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        if asker.len() != 32 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self { asker: Id::try_parse(asker).ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for Correlation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.asker.simple(), self.number)
    }
}

/// A question that goes to many devices: what is the value of this datastream now?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub asker: Id,
    /// The code of the datastream.
    pub datastream: String,
    /// How long an answer is waited for. A question that is older is not delivered any more.
    pub within: Duration,
}

/// One device that a [`Question`] goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To<'a> {
    /// The thing's code.
    pub thing: &'a str,
    /// The number of its [`Correlation`].
    pub number: u32,
}

/// Sends commands to devices (`zs/v1/{thing}/command`). Implemented by the gateway.
#[async_trait]
pub trait CommandDown: Send + Sync {
    /// Hands `payload` (a JSON object) to the device `thing` if it listens now.
    ///
    /// Never waits for the device's answer: that comes back on `zs/v1/{thing}/reply` or as an
    /// observation. Bounded: a full queue of the connection answers [`Sent::NotListening`].
    async fn send(&self, thing: &str, payload: Bytes) -> Sent;

    /// Asks each of `to`, and says for each, in their order, whether the question is on its way.
    ///
    /// [`Sent::Delivered`] means here: in the queue of a connection that listens. Nothing waits
    /// for sockets, so that one slow device does not hold up the others; one whose connection dies
    /// before it is written simply gives no answer. No task and no buffer a device: a caller with
    /// many devices comes with some thousand of them at a time.
    async fn ask(&self, question: &Question, to: &[To<'_>]) -> Vec<Sent>;
}

/// What a device answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A value, which is stored as an observation like any other.
    Value {
        /// When it held, as the device says; the time of receipt where it says nothing.
        time: Micros,
        /// In the datastream's unit.
        value: f64,
    },
    /// It cannot say, and why (its own words, cut to 200 bytes).
    Fault(String),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which question.
    pub correlation: Correlation,
    /// What it is.
    pub reply: Reply,
    /// When it came.
    pub received_at: Micros,
}

/// Waits for answers. Implemented by the watch centre, used by the gateway.
pub trait Answers: Send + Sync {
    /// The datastream that `correlation` asked `thing` for; `None` when nobody waits for such an
    /// answer from this thing (any more). Answers from memory, by a look-up.
    fn expected(&self, thing: &str, correlation: Correlation) -> Option<DatastreamKey>;

    /// Takes answers **after the commit** of the observations in them, in the order they came.
    /// Must not wait: what it keeps is bounded by what it asked.
    fn take(&self, answers: Vec<Answer>);
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_correlation_survives_its_text(asker: u128, number: u32) {
            let correlation = Correlation { asker: Id::from_u128(asker), number };
            let text = correlation.to_string();
            proptest::prop_assert!(text.len() <= Correlation::LONGEST);
            proptest::prop_assert_eq!(Correlation::parse(text.as_bytes()), Some(correlation));
        }
    }

    #[test]
    fn other_texts_are_no_correlation() {
        for text in [
            "",
            "-",
            "0195-1",
            "019357e0a0b070008000000000000001",
            "019357e0a0b070008000000000000001-",
            "019357e0a0b070008000000000000001-x",
            "019357e0a0b070008000000000000001-+1",
            "019357e0a0b070008000000000000001-4294967296",
            "019357e0a0b07000800000000000000g-1",
            "019357e0-a0b0-7000-8000-000000000001-1",
            "019357e0a0b070008000000000000001-00000000001",
        ] {
            assert_eq!(Correlation::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Correlation::parse(b"\xff\xfe"), None);
    }
}
