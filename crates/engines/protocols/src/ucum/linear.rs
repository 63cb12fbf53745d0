//! A conversion, and numbers kept so that powers of ten stay exact.

/// `value × multiplier / divisor + offset`.
///
/// Multiplier and divisor are kept apart because a power of ten is exact as a whole number and
/// not as its reciprocal: 187 kPa are 0.187 MPa to the last digit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    multiplier: f64,
    divisor: f64,
    /// What is added after scaling.
    pub offset: f64,
}

impl Linear {
    /// What changes nothing.
    pub const IDENTITY: Self = Self { multiplier: 1.0, divisor: 1.0, offset: 0.0 };

    pub(super) fn between(from: Scale, from_offset: f64, to: Scale, to_offset: f64) -> Self {
        let ratio = from.over(to);
        let offset = (from_offset - to_offset) / to.value();
        Self { multiplier: ratio.multiplier(), divisor: ratio.divisor(), offset }
    }

    /// What a value is multiplied by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.multiplier / self.divisor
    }

    /// The value in the other unit.
    #[must_use]
    pub fn apply(&self, value: f64) -> f64 {
        value * self.multiplier / self.divisor + self.offset
    }
}

/// A positive factor: `mantissa × 10^ten`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    mantissa: f64,
    ten: i32,
}

/// The largest power of ten that a double holds exactly.
const EXACT: i32 = 22;

impl Scale {
    pub(super) const ONE: Self = Self::new(1.0, 0);

    pub(super) const fn new(mantissa: f64, ten: i32) -> Self {
        Self { mantissa, ten }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, ten: self.ten + other.ten }
    }

    pub(super) fn over(self, other: Self) -> Self {
        Self { mantissa: self.mantissa / other.mantissa, ten: self.ten - other.ten }
    }

    pub(super) fn power(self, exponent: i32) -> Self {
        Self { mantissa: self.mantissa.powi(exponent), ten: self.ten * exponent }
    }

    /// Whether it can be reckoned with.
    pub(super) fn is_sound(self) -> bool {
        self.mantissa.is_normal() && self.ten.abs() <= 300 && self.value().is_normal()
    }

    pub(super) fn value(self) -> f64 {
        self.multiplier() / self.divisor()
    }

    fn multiplier(self) -> f64 {
        if self.ten >= -EXACT {
            self.mantissa * 10f64.powi(self.ten.max(0))
        } else {
            self.mantissa * 10f64.powi(self.ten)
        }
    }

    fn divisor(self) -> f64 {
        if (-EXACT..0).contains(&self.ten) { 10f64.powi(-self.ten) } else { 1.0 }
    }
}
