//! Numbers where they stand: floats exactly rounded, integers with their suffix.

use super::error::Reason;
use super::fields::FieldValue;

/// The powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Integers up to here are doubles exactly.
const EXACT: u64 = 1 << 53;

/// Reads the number that `bytes` begins with, up to a comma, a space or the end; the value and
/// how many bytes it took.
pub(super) fn read<'a>(bytes: &[u8]) -> Result<(FieldValue<'a>, usize), Reason> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let (mut mantissa, mut digits, mut exponent) = (0u64, 0usize, 0i32);
    // Nineteen digits fit into 64 bits; of longer numbers only the count is of use here.
    let mut digit = |byte: u8| {
        digits += 1;
        if digits <= 19 {
            mantissa = mantissa * 10 + u64::from(byte - b'0');
        }
    };
    while let Some(byte) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        digit(*byte);
        at += 1;
    }
    let whole = at;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let fraction = at;
        while let Some(byte) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
            digit(*byte);
            at += 1;
        }
        // A body is at most some megabytes.
        exponent = -i32::try_from(at - fraction).unwrap_or(i32::MAX);
    }
    if digits == 0 {
        return Err(Reason::InvalidNumber);
    }
    match bytes.get(at) {
        Some(suffix @ (b'i' | b'u')) if at == whole => {
            end(bytes, at + 1)?;
            let value = integer(&bytes[..at], negative, *suffix == b'u', mantissa, digits)?;
            return Ok((value, at + 1));
        }
        Some(b'e' | b'E') => {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            let first = at;
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            if at == first {
                return Err(Reason::InvalidNumber);
            }
            end(bytes, at)?;
            return Ok((FieldValue::Float(slow(&bytes[..at])?), at));
        }
        _ => end(bytes, at)?,
    }
    // An exact integer times or divided by an exact power of ten is rounded once, as it must be
    // (Clinger 1990).
    let exact = digits <= 19 && mantissa <= EXACT;
    let value = match usize::try_from(-exponent).ok().and_then(|e| POWERS.get(e)).filter(|_| exact) {
        Some(power) => {
            let value = mantissa as f64 / power;
            if negative { -value } else { value }
        }
        None => slow(&bytes[..at])?,
    };
    Ok((FieldValue::Float(value), at))
}

fn end(bytes: &[u8], at: usize) -> Result<(), Reason> {
    match bytes.get(at) {
        None | Some(b',' | b' ') => Ok(()),
        Some(_) => Err(Reason::InvalidNumber),
    }
}

fn slow(token: &[u8]) -> Result<f64, Reason> {
    let value: f64 =
        std::str::from_utf8(token).ok().and_then(|text| text.parse().ok()).ok_or(Reason::InvalidNumber)?;
    if value.is_finite() { Ok(value) } else { Err(Reason::InvalidNumber) }
}

fn integer<'a>(
    token: &[u8],
    negative: bool,
    unsigned: bool,
    mantissa: u64,
    digits: usize,
) -> Result<FieldValue<'a>, Reason> {
    if unsigned {
        if negative {
            return Err(Reason::InvalidNumber);
        }
        return if digits <= 19 {
            Ok(FieldValue::Unsigned(mantissa))
        } else {
            parse(token).map(FieldValue::Unsigned)
        };
    }
    if digits <= 18 {
        let value = mantissa.cast_signed();
        return Ok(FieldValue::Integer(if negative { -value } else { value }));
    }
    parse(token).map(FieldValue::Integer)
}

fn parse<T: std::str::FromStr>(token: &[u8]) -> Result<T, Reason> {
    std::str::from_utf8(token).ok().and_then(|t| t.parse().ok()).ok_or(Reason::IntegerOutOfRange)
}
