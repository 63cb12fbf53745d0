//! The packets that the benches need (MQTT 3.1.1 and MQTT 5.0, chapters 2 and 3).

use anyhow::{Result, bail};

/// The size of every payload.
pub const PAYLOAD: usize = 100;

/// Which MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V311,
    /// 5.0
    V5,
}

impl Version {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// A packet: its first byte, and what follows the remaining length.
fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = rest.len();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

/// A string with its length before it.
fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// CONNECT with a new session.
pub fn connect(version: Version, client: &str, user: Option<(&str, &str)>, keep_alive: u16) -> Vec<u8> {
    let mut rest = Vec::new();
    text(&mut rest, "MQTT");
    rest.push(if version == Version::V5 { 5 } else { 4 });
    rest.push(if user.is_some() { 0xc2 } else { 0x02 });
    rest.extend_from_slice(&keep_alive.to_be_bytes());
    if version == Version::V5 {
        rest.push(0);
    }
    text(&mut rest, client);
    if let Some((name, password)) = user {
        text(&mut rest, name);
        text(&mut rest, password);
    }
    packet(0x10, &rest)
}

/// SUBSCRIBE of one filter at QoS 1, in 3.1.1.
pub fn subscribe(filter: &str) -> Vec<u8> {
    let mut rest = vec![0, 1];
    text(&mut rest, filter);
    rest.push(1);
    packet(0x82, &rest)
}

/// PUBLISH at QoS 1 on a topic, in 3.1.1.
pub fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    text(&mut rest, topic);
    rest.extend_from_slice(&id.to_be_bytes());
    rest.extend_from_slice(payload);
    packet(0x32, &rest)
}

/// Packet id and payload of what follows the remaining length of a PUBLISH at QoS 1, in 3.1.1.
pub fn published(rest: &[u8]) -> Option<(u16, &[u8])> {
    let topic = usize::from(u16::from_be_bytes(rest.first_chunk().copied()?));
    let after = rest.get(2 + topic..)?;
    let id = u16::from_be_bytes(after.first_chunk().copied()?);
    Some((id, after.get(2..)?))
}

/// PUBACK, in the short form that both have.
pub fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// DISCONNECT, in the short form that both have.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// The first whole packet of `bytes`: its first byte, what follows the remaining length, and how
/// many bytes it took. Nothing while it is not whole.
pub fn first(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let Some((kind, after)) = bytes.split_first() else { return Ok(None) };
    let (mut length, mut shift) = (0_usize, 0);
    for (n, byte) in after.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            let (from, to) = (n + 2, n + 2 + length);
            return Ok(bytes.get(from..to).map(|rest| (*kind, rest, to)));
        }
        if n == 3 {
            bail!("a packet with a remaining length of more than four bytes");
        }
    }
    Ok(None)
}

/// PUBLISH at QoS 1 whose packet id, time and value are patched in place.
#[derive(Clone, Debug)]
pub struct Publish {
    bytes: Vec<u8>,
    id_at: usize,
    time_at: usize,
    value_at: usize,
}

impl Publish {
    /// A message of [`PAYLOAD`] bytes to the pressure of a thing.
    pub fn new(version: Version, thing: &str) -> Self {
        let mut rest = Vec::new();
        text(&mut rest, &format!("zs/v1/{thing}/pressure"));
        let id = rest.len();
        rest.extend_from_slice(&[0, 0]);
        if version == Version::V5 {
            rest.push(0);
        }
        let payload = rest.len();
        let start = "{\"t\":0000000000000,\"v\":0.000,\"battery\":87,\"signal\":-71,\"firmware\":\"2.4.1\",\"serial\":\"";
        let end = "\"}";
        rest.extend_from_slice(start.as_bytes());
        rest.resize(payload + PAYLOAD - end.len(), b'7');
        rest.extend_from_slice(end.as_bytes());
        let length = rest.len();
        let bytes = packet(0x32, &rest);
        let head = bytes.len() - length;
        Self { bytes, id_at: head + id, time_at: head + payload + 5, value_at: head + payload + 25 }
    }

    /// The bytes of the message `id` at `millis` since 1970, with 0.`thousandths` as its value.
    pub fn at(&mut self, id: u16, millis: u64, thousandths: u16) -> &[u8] {
        self.bytes[self.id_at..self.id_at + 2].copy_from_slice(&id.to_be_bytes());
        let mut rest = millis;
        for digit in self.bytes[self.time_at..self.time_at + 13].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let mut rest = thousandths;
        for digit in self.bytes[self.value_at..self.value_at + 3].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_has_its_parts_in_place() {
        for (version, properties) in [(Version::V311, 0), (Version::V5, 1)] {
            let mut publish = Publish::new(version, "bench-00042");
            let bytes = publish.at(0x1234, 1_795_501_925_120, 317).to_vec();
            let (kind, rest, took) = first(&bytes).unwrap().unwrap();
            assert_eq!((kind, took), (0x32, bytes.len()));
            let topic = "zs/v1/bench-00042/pressure";
            assert_eq!(&rest[2..2 + topic.len()], topic.as_bytes());
            assert_eq!(rest[2 + topic.len()..4 + topic.len()], [0x12, 0x34]);
            let payload = &rest[4 + topic.len() + properties..];
            assert_eq!(payload.len(), PAYLOAD);
            let json: serde_json::Value = serde_json::from_slice(payload).unwrap();
            assert_eq!((&json["t"], &json["v"]), (&1_795_501_925_120_u64.into(), &0.317.into()));
        }
    }

    #[test]
    fn what_is_published_is_read_back() {
        let bytes = publish("zs/v1/h/reply", 7, b"{}");
        let (kind, rest, _) = first(&bytes).unwrap().unwrap();
        assert_eq!((kind, published(rest)), (0x32, Some((7, &b"{}"[..]))));
        assert_eq!(published(&[0, 9, b'x']), None);
    }

    #[test]
    fn packets_are_found_wherever_the_bytes_were_cut() {
        let bytes =
            [packet(0x32, &[7; 200]), puback(9).to_vec(), connect(Version::V5, "c", Some(("u", "p")), 60)]
                .concat();
        for cut in 0..bytes.len() {
            let (mut at, mut kinds) = (0, Vec::new());
            for end in [cut, bytes.len()] {
                while let Some((kind, _, took)) = first(&bytes[at..end]).unwrap() {
                    kinds.push(kind);
                    at += took;
                }
            }
            assert_eq!((kinds, at), (vec![0x32, 0x40, 0x10], bytes.len()), "cut at {cut}");
        }
        assert!(first(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }

    #[test]
    fn connect_is_as_the_specification_has_it() {
        assert_eq!(
            connect(Version::V311, "ab", None, 60),
            [0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 2, b'a', b'b']
        );
        let user = connect(Version::V5, "", Some(("u", "p")), 0);
        assert_eq!(user[2..], [0, 4, b'M', b'Q', b'T', b'T', 5, 0xc2, 0, 0, 0, 0, 0, 0, 1, b'u', 0, 1, b'p']);
    }
}
