//! Time-based one-time passwords (TOTP): RFC 6238 over RFC 4226, as the usual apps do them:
//! SHA-1, six digits, steps of 30 seconds.

use model::Micros;
use ring::hmac;

/// The length of a step.
const STEP: i64 = 30 * Micros::SECOND;
/// How many bytes a secret has: as many as SHA-1 gives (RFC 4226 §4, R6).
pub const SECRET: usize = 20;
/// RFC 4648 §6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step that an instant lies in.
#[must_use]
pub fn step(at: Micros) -> i64 {
    at.0.div_euclid(STEP)
}

/// The code of a step (RFC 4226 §5.3).
#[must_use]
pub fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
    let four = tag.get(offset..offset + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).unwrap_or_default();
    let number = u32::from_be_bytes(four) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// The step whose code this is: the present one, the one before or the one after, and later than
/// `last`, since a code is good once (RFC 6238 §5.2).
#[must_use]
pub fn accepted(secret: &[u8], given: &str, at: Micros, last: i64) -> Option<i64> {
    let now = step(at);
    let mut found = None;
    // All three are computed, whichever it is.
    for step in [now - 1, now, now + 1] {
        let code = code(secret, step);
        let same = given.len() == code.len()
            && code.bytes().zip(given.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0;
        if same && step > last {
            found = Some(step);
        }
    }
    found
}

/// A secret as people and apps read it.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[((held >> bits) & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(BASE32[((held << (5 - bits)) & 31) as usize]));
    }
    text
}

/// What a QR code holds: the key URI format that the apps share.
#[must_use]
pub fn uri(issuer: &str, login: &str, secret: &[u8]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |mut out, b| {
            if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
                out.push(char::from(b));
            } else {
                out.push_str(&format!("%{b:02X}"));
            }
            out
        })
    };
    let (issuer, login) = (escape(issuer), escape(login));
    format!(
        "otpauth://totp/{issuer}:{login}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
        base32(secret)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238 appendix B, its last six digits of eight.
    #[test]
    fn the_codes_of_the_standard() {
        for (second, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, step(Micros(second * Micros::SECOND))), expected, "{second}");
        }
    }

    /// RFC 4226 appendix D.
    #[test]
    fn the_counters_of_the_standard() {
        let codes =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871"];
        for (counter, expected) in codes.into_iter().enumerate() {
            assert_eq!(code(SECRET, counter as i64), expected);
        }
    }

    #[test]
    fn a_code_is_good_for_a_step_either_way_and_once() {
        let at = Micros(1_000_000 * STEP + 1);
        for (offset, last, good) in [
            (0, 0, true),
            (-1, 0, true),
            (1, 0, true),
            (-2, 0, false),
            (2, 0, false),
            (0, 1_000_000, false),
            (1, 1_000_000, true),
            (-1, 1_000_000, false),
        ] {
            let given = code(SECRET, 1_000_000 + offset);
            let expected = good.then_some(1_000_000 + offset);
            assert_eq!(accepted(SECRET, &given, at, last), expected, "{offset} after {last}");
        }
        for wrong in ["", "12345", "1234567", "abcdef"] {
            assert_eq!(accepted(SECRET, wrong, at, 0), None);
        }
    }

    /// RFC 4648 §10, without its padding.
    #[test]
    fn base32_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
        }
        assert_eq!(
            uri("城市", "a@b", b"foobar"),
            "otpauth://totp/%E5%9F%8E%E5%B8%82:a%40b?secret=MZXW6YTBOI&issuer=%E5%9F%8E%E5%B8%82&algorithm=SHA1&digits=6&period=30"
        );
    }
}
