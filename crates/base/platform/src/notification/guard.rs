//! Which addresses a webhook may reach.
//!
//! Who may set a webhook must not reach through the hub what only the hub reaches: addresses of
//! this machine and of the networks it stands in are refused unless the operator allows them. A
//! name is resolved once, by [`Guarded`], and the connection goes to what was checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Reads `10.20.0.0/16` or `fd00::/8`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a prefix as 10.20.0.0/16 or fd00::/8");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        if length > if address.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        Ok(Self { address, length })
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let rest = 32 - u32::from(self.length);
                (a.to_bits() ^ b.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let rest = 128 - u32::from(self.length);
                (a.to_bits() ^ b.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Which addresses inside networks of one's own may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Internal {
    /// None.
    #[default]
    Refused,
    /// Those of these prefixes.
    Prefixes(Vec<Prefix>),
    /// All.
    Allowed,
}

/// Reserved ranges of IPv4 (IANA's special-purpose registry, RFC 6890 and later): not reachable
/// from the whole network, or not one host.
const RESERVED_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // shared by carriers (CGNAT)
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local; clouds keep credentials there
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// Whether an address is inside a network of one's own, or none that a host has.
#[must_use]
pub fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => RESERVED_V4.iter().any(|(range, length)| {
            Prefix { address: Ipv4Addr::from(*range).into(), length: *length }.holds(v4.into())
        }),
        IpAddr::V6(v6) => is_internal_v6(v6),
    }
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into();
    match s {
        // IPv4-mapped, and the same address by another notation.
        [0, 0, 0, 0, 0, 0xffff, high, low] => is_internal(v4(high, low)),
        // NAT64 (RFC 6052): the IPv4 address in its last 32 bits is what is reached.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_internal(v4(high, low)),
        // 6to4 (RFC 3056): likewise.
        [0x2002, high, low, ..] => is_internal(v4(high, low)),
        // Teredo and other protocol assignments, ORCHID, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => true,
        [0x3fff, second, ..] if second < 0x1000 => true,
        // Only 2000::/3 is given to hosts of the whole network: not loopback, unique local,
        // link-local, site-local, multicast, discard.
        _ => s[0] & 0xe000 != 0x2000,
    }
}

impl Internal {
    /// Reads the setting: `false`, `true`, or prefixes.
    ///
    /// # Errors
    /// The prefix that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" | "false" => Ok(Self::Refused),
            "true" => Ok(Self::Allowed),
            list => list
                .split(|c: char| c.is_whitespace() || c == ',')
                .filter(|w| !w.is_empty())
                .map(Prefix::parse)
                .collect::<Result<_, _>>()
                .map(Self::Prefixes),
        }
    }

    /// Whether an address may be reached.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        match self {
            _ if !is_internal(address) => true,
            Self::Refused => false,
            Self::Allowed => true,
            Self::Prefixes(prefixes) => prefixes.iter().any(|p| p.holds(plain)),
        }
    }

    /// Whether a webhook may have this address. A name is looked up when a message is sent.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    pub fn check_url(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|e| format!("{text:?} is not an address: {e}"))?;
        if url.scheme() != "https" {
            return Err(format!("{text:?} is not https; messages go encrypted or not at all"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address holds a name or password; the signature says who sends".into());
        }
        let address = match url.host() {
            None => return Err(format!("{text:?} names no host")),
            Some(Host::Domain(_)) => return Ok(url),
            Some(Host::Ipv4(a)) => IpAddr::V4(a),
            Some(Host::Ipv6(a)) => IpAddr::V6(a),
        };
        if self.permits(address) { Ok(url) } else { Err(Forbidden::of(address).to_string()) }
    }
}

/// An address that may not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} lies inside a network of the hub's own, which webhooks may not reach; the operator allows it with notification_internal"
)]
pub struct Forbidden(String);

impl Forbidden {
    fn of(address: IpAddr) -> Self {
        Self(address.to_string())
    }
}

/// Resolves names, and refuses those of which any address may not be reached.
#[derive(Clone, Debug)]
pub(super) struct Guarded(pub(super) Internal);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let internal = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(wrong) = found.iter().find(|a| !internal.permits(a.ip())) {
                return Err(Forbidden::of(wrong.ip()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_own_networks_are_refused() {
        let refused = [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
        ];
        for address in refused {
            let address: IpAddr = address.parse().unwrap();
            assert!(!Internal::Refused.permits(address), "{address}");
            assert!(Internal::Allowed.permits(address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "223.5.5.5",
            "198.20.0.1",
            "2400:3200::1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:4860::1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(Internal::Refused.permits(address), "{address}");
        }
    }

    #[test]
    fn prefixes_allow_what_lies_in_them() {
        let internal = Internal::parse("10.20.0.0/16, fd00::/8 127.0.0.1/32").unwrap();
        for (address, expected) in [
            ("10.20.255.1", true),
            ("10.21.0.1", false),
            ("::ffff:10.20.0.1", true),
            ("fd00::1", true),
            ("fc00::1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(internal.permits(address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(Internal::parse("false").unwrap(), Internal::Refused);
        assert_eq!(Internal::parse("true").unwrap(), Internal::Allowed);
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "yes"] {
            assert!(Internal::parse(wrong).is_err(), "{wrong}");
        }
        let whole = Prefix::parse("0.0.0.0/0").unwrap();
        assert!(whole.holds("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn a_webhooks_address_is_checked() {
        for (url, reason) in [
            ("http://example.org/", "not https"),
            ("ftp://example.org/", "not https"),
            ("https://a:b@example.org/", "name or password"),
            ("https://127.0.0.1/", "own"),
            ("https://[::1]/", "own"),
            ("https://[::ffff:10.0.0.1]/", "own"),
            ("https://2130706433/", "own"), // 127.0.0.1 as one number
            ("https://0x7f.1/", "own"),     // and in hexadecimal
            ("https://169.254.169.254/latest/meta-data", "own"),
            ("nonsense", "not an address"),
        ] {
            let error = Internal::Refused.check_url(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
        for url in ["https://example.org/in", "https://8.8.8.8/in"] {
            assert!(Internal::Refused.check_url(url).is_ok(), "{url}");
        }
        assert!(Internal::Allowed.check_url("https://127.0.0.1:8443/in").is_ok());
    }
}
