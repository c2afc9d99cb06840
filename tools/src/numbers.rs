//! Numbers on the command line: what is no number, or none that makes sense, is refused before any work.

use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::RangeBounds;

/// Reads a number that lies between two bounds. NaN lies between none, and infinity is no number here.
///
/// # Errors
/// What a number must be, for people.
fn number(text: &str, low: Bound<f64>, high: Bound<f64>, must_be: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && (low, high).contains(&n) => Ok(n),
        _ => Err(must_be.to_owned()),
    }
}

/// Any finite number.
///
/// # Errors
/// What it must be, for people.
pub fn finite(text: &str) -> Result<f64, String> {
    number(text, Unbounded, Unbounded, "it must be a finite number")
}

/// Seconds of a measurement.
///
/// # Errors
/// What they must be, for people.
pub fn seconds(text: &str) -> Result<f64, String> {
    number(text, Excluded(0.0), Included(3600.0), "it must be above 0 and at most 3600")
}

/// A temperature.
///
/// # Errors
/// What it must be, for people.
pub fn temperature(text: &str) -> Result<f64, String> {
    number(text, Included(0.0), Included(100.0), "it must be between 0 and 100")
}

/// A share that is not nothing.
///
/// # Errors
/// What it must be, for people.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, Excluded(0.0), Included(1.0), "it must be above 0 and at most 1")
}

/// Bits per byte that a model may need, to 1/256.
///
/// # Errors
/// What they must be, for people.
pub fn byte_bits(text: &str) -> Result<f64, String> {
    number(text, Included(1.0 / 256.0), Included(8.0), "it must be above 0 and at most 8")
}

/// A share, which may be nothing.
///
/// # Errors
/// What it must be, for people.
pub fn share_or_none(text: &str) -> Result<f64, String> {
    number(text, Included(0.0), Included(1.0), "it must be between 0 and 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_make_sense_are_taken() {
        let parsers = [finite, seconds, temperature, share];
        for parse in parsers {
            assert_eq!(parse("0.5"), Ok(0.5));
            for bad in ["nan", "NaN", "-nan", "inf", "-inf", "infinity", "1e999", "", "x", "0,5"] {
                assert!(parse(bad).is_err(), "{bad}");
            }
        }
        assert_eq!(parsers.map(|parse| parse("-1").is_ok()), [true, false, false, false]);
        assert_eq!(parsers.map(|parse| parse("0").is_ok()), [true, false, true, false]);
        assert_eq!(parsers.map(|parse| parse("3601").is_ok()), [true, false, false, false]);
        assert_eq!(parsers.map(|parse| parse("1.01").is_ok()), [true, true, true, false]);
    }

    #[test]
    fn bits_of_a_byte() {
        assert_eq!((byte_bits("4.4"), byte_bits("8")), (Ok(4.4), Ok(8.0)));
        for wrong in ["0", "-1", "8.1", "nan", ""] {
            assert!(byte_bits(wrong).is_err(), "{wrong}");
        }
    }
}
