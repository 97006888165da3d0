//! Number text to numbers: integers exactly, floats correctly rounded.

use super::{Value, ValueError};
use crate::value::ty::Ty;

/// Reads a JSON number's text as `ty`, which must be a number type. A whole
/// number may be written with a point or an exponent (`3.0`, `1e3`): it is
/// taken exactly, or refused.
pub fn read(text: &str, ty: &Ty) -> Result<Value, ValueError> {
    let unfit = || ValueError::new(format!("{} does not fit {ty}", shorten(text)));
    macro_rules! narrow {
        ($kind:ident) => {
            integer(text)?.try_into().map(Value::$kind).map_err(|_| unfit())
        };
    }
    match ty {
        Ty::S8 => narrow!(S8),
        Ty::U8 => narrow!(U8),
        Ty::S16 => narrow!(S16),
        Ty::U16 => narrow!(U16),
        Ty::S32 => narrow!(S32),
        Ty::U32 => narrow!(U32),
        Ty::S64 => narrow!(S64),
        Ty::U64 => narrow!(U64),
        // A core integer has no sign of its own: both readings are taken, the
        // bits are what counts.
        Ty::I32 => match integer(text)? {
            number @ 0..=0xFFFF_FFFF => u32::try_from(number).map(|bits| Value::S32(bits.cast_signed())),
            number => i32::try_from(number).map(Value::S32),
        }
        .map_err(|_| unfit()),
        Ty::I64 => match integer(text)? {
            number @ 0.. => u64::try_from(number).map(|bits| Value::S64(bits.cast_signed())),
            number => i64::try_from(number).map(Value::S64),
        }
        .map_err(|_| unfit()),
        Ty::F32 => match text.parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(Value::F32(number)),
            _ => Err(unfit()),
        },
        Ty::F64 => float(text).map(Value::F64).ok_or_else(unfit),
        _ => Err(ValueError::new(format!("expected {ty}, found a number"))),
    }
}

/// The nearest float to a JSON number's text, if there is one in range.
pub fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The float that a word stands for.
pub fn float_word(text: &str) -> Option<f64> {
    match text {
        "nan" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Whether the text of a JSON number is within the range of `f64`.
pub fn in_range(text: &str) -> bool {
    let short_and_plain = text.len() < 300 && !text.bytes().any(|byte| matches!(byte, b'e' | b'E'));
    short_and_plain || text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The exact whole number that a JSON number's text means. Numbers beyond
/// `i128` saturate: they fit no type.
fn integer(text: &str) -> Result<i128, ValueError> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number.into());
    }
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, saturating_exponent(exponent)),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(last) = digits().rposition_of_nonzero() else { return Ok(0) };
    let first = digits().position(|digit| digit != b'0').unwrap_or(0);
    // Digit number `position` stands for `digit × 10^(scale - position)`.
    let scale = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent).saturating_sub(1);
    let zeros = scale.saturating_sub(i64::try_from(last).unwrap_or(i64::MAX));
    if zeros < 0 {
        return Err(ValueError::new(format!("{} is not a whole number", shorten(text))));
    }
    let mut number: i128 = 0;
    for digit in digits().take(last + 1).skip(first) {
        number = number.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    for _ in 0..zeros.min(40) {
        number = number.saturating_mul(10);
    }
    Ok(if negative { -number } else { number })
}

fn saturating_exponent(text: &str) -> i64 {
    let limit = if text.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
    text.parse().map_or(limit, |exponent: i64| exponent.clamp(i64::MIN / 4, i64::MAX / 4))
}

trait LastNonzero {
    fn rposition_of_nonzero(self) -> Option<usize>;
}

impl<I: Iterator<Item = u8>> LastNonzero for I {
    fn rposition_of_nonzero(self) -> Option<usize> {
        self.enumerate().filter(|(_, digit)| *digit != b'0').map(|(position, _)| position).last()
    }
}

/// The text, cut to a length that a message can hold.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        for (text, wanted) in [
            ("0", 0),
            ("-0", 0),
            ("3.0", 3),
            ("1e3", 1000),
            ("1.5e1", 15),
            ("1200e-2", 12),
            ("0.000e99999999999999999999", 0),
            ("18446744073709551615", i128::from(u64::MAX)),
            ("18446744073709551615.000", i128::from(u64::MAX)),
            ("-9223372036854775808", i128::from(i64::MIN)),
            ("9007199254740993.0", 9_007_199_254_740_993),
        ] {
            assert_eq!(integer(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn fractions_and_giants_are_refused() {
        assert_eq!(read("1.5", &Ty::U8).unwrap_err().message, "1.5 is not a whole number");
        assert_eq!(read("1e-99999999999999999999", &Ty::U8).unwrap_err().message.split(' ').nth(1), Some("is"));
        assert_eq!(read("300", &Ty::U8).unwrap_err().message, "300 does not fit u8");
        assert_eq!(read("-1", &Ty::U64).unwrap_err().message, "-1 does not fit u64");
        assert!(read("1e99999999999999999999", &Ty::U64).is_err());
        assert!(read("18446744073709551616", &Ty::I64).is_err());
        assert!(read("1e400", &Ty::F64).is_err());
        assert!(read("1e39", &Ty::F32).is_err());
    }

    #[test]
    fn core_integers_take_both_signs() {
        assert_eq!(read("4294967295", &Ty::I32), Ok(Value::S32(-1)));
        assert_eq!(read("-2147483648", &Ty::I32), Ok(Value::S32(i32::MIN)));
        assert!(read("4294967296", &Ty::I32).is_err());
        assert!(read("-2147483649", &Ty::I32).is_err());
        assert_eq!(read("18446744073709551615", &Ty::I64), Ok(Value::S64(-1)));
        assert!(read("-9223372036854775809", &Ty::I64).is_err());
    }
}
