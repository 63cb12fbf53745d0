//! Units as UCUM writes them (The Unified Code for Units of Measure, case-sensitive form), and how
//! a value in one becomes a value in another.
//!
//! ```
//! let to_mpa = protocols::ucum::conversion("kPa", "MPa").unwrap();
//! assert_eq!(to_mpa.apply(187.0), 0.187);
//! let cold = protocols::ucum::conversion("[degF]", "Cel").unwrap().apply(23.0);
//! assert!((cold - -5.0).abs() < 1e-9);
//! assert!(protocols::ucum::conversion("m", "s").is_err());
//! ```
//!
//! The units a city meets are there (`atoms.rs`), with the SI and binary prefixes, products,
//! quotients, exponents, parentheses and annotations in braces, which mean nothing. Units whose
//! scale begins elsewhere than at nothing (`Cel`, `[degF]`) stand alone, never in a product.
//! Logarithmic ones (`B`, `[pH]`) turn only into themselves.

mod atoms;
mod linear;
mod read;

pub use linear::Linear;

use read::Unit;

/// Why a value does not turn from one unit into the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UcumError {
    /// A text is no unit, or none of those that are known.
    #[error("unit {unit:?} does not read: {reason}")]
    Unreadable {
        /// The text.
        unit: String,
        /// What is wrong with it.
        reason: String,
    },
    /// They measure different things.
    #[error("a value in {from:?} does not turn into {to:?}: they measure different quantities")]
    Dimension {
        /// The unit that is given.
        from: String,
        /// The unit that is wanted.
        to: String,
    },
}

/// The longest unit that is read, in bytes.
pub const MAX_UNIT: usize = 128;

/// How a value in `from` becomes one in `to`.
///
/// # Errors
/// [`UcumError`] for a text that is no unit, and for two units of different dimensions.
pub fn conversion(from: &str, to: &str) -> Result<Linear, UcumError> {
    let (given, wanted) = (unit(from)?, unit(to)?);
    if given.dimension != wanted.dimension {
        return Err(UcumError::Dimension { from: from.to_owned(), to: to.to_owned() });
    }
    // Where the two are the same text nothing is to be rounded.
    if from == to {
        return Ok(Linear::IDENTITY);
    }
    Ok(Linear::between(given.scale, given.offset, wanted.scale, wanted.offset))
}

/// Whether `text` is a unit that is known here.
///
/// # Errors
/// [`UcumError::Unreadable`].
pub fn check(text: &str) -> Result<(), UcumError> {
    unit(text).map(drop)
}

fn unit(text: &str) -> Result<Unit, UcumError> {
    let unreadable =
        |reason: String| UcumError::Unreadable { unit: text.chars().take(MAX_UNIT).collect(), reason };
    if text.len() > MAX_UNIT {
        return Err(unreadable(format!("is longer than {MAX_UNIT} bytes")));
    }
    read::unit(text).map_err(unreadable)
}
