//! Integers as JSON text, read and written eight digits at a time. Pure.

/// Most bytes of an integer's text.
pub const LONGEST: usize = 20;

/// Most digits that are read here.
const MOST_DIGITS: usize = 16;

/// Appends the text of a number.
pub fn put(out: &mut Vec<u8>, number: i64) {
    let mut digits = itoa::Buffer::new();
    append(out, digits.format(number).as_bytes());
}

/// Appends up to [`LONGEST`] bytes; for so few a call that copies any number
/// would take longer than to make them.
#[inline]
fn append(out: &mut Vec<u8>, text: &[u8]) {
    let (start, length) = (out.len(), text.len());
    out.extend_from_slice(&[0; LONGEST]);
    let place = &mut out[start..];
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        if let Some(middle) = text.get(8..16) {
            place[8..16].copy_from_slice(middle);
        }
        place[..8].copy_from_slice(first);
        place[length - 8..length].copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        place[..4].copy_from_slice(first);
        place[length - 4..length].copy_from_slice(last);
    } else {
        for (place, byte) in place.iter_mut().zip(text) {
            *place = *byte;
        }
    }
    out.truncate(start + length);
}

/// A JSON integer without white space, of at most 16 digits: what nearly all
/// are. Anything else is for a reader of JSON to take or to refuse.
#[must_use]
#[inline]
pub fn read(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // A 0 is not followed by digits, and `-0` is no integer.
    if digits.len() > MOST_DIGITS || digits.first() == Some(&b'0') && text.len() > 1 {
        return None;
    }
    let number = match digits.split_last_chunk::<8>() {
        Some((rest, last)) => {
            let rest = if rest.is_empty() { 0 } else { few(rest)? };
            rest * 100_000_000 + eight(u64::from_le_bytes(*last))?
        }
        None => few(digits)?,
    };
    let number = number as i64;
    Some(if negative { -number } else { number })
}

/// One to eight digits.
#[inline]
fn few(digits: &[u8]) -> Option<u64> {
    let length = digits.len() as u32;
    let bytes = match (digits.first_chunk::<8>(), digits.first_chunk::<4>(), digits.last_chunk::<4>()) {
        (Some(all), ..) => u64::from_le_bytes(*all),
        (None, Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << (8 * (length - 4))
        }
        _ => digits.iter().rev().fold(0, |bytes, digit| bytes << 8 | u64::from(*digit)),
    };
    // Zeros before the first digit, which is the lowest byte.
    let shift = 64_u32.checked_sub(8 * length)?;
    let zeros = u64::from_le_bytes([b'0'; 8]);
    match shift {
        0 => eight(bytes),
        64 => None,
        _ => eight(bytes << shift | zeros >> (64 - shift)),
    }
}

/// Eight digits, the first in the lowest byte.
#[inline]
fn eight(bytes: u64) -> Option<u64> {
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // Of a digit the upper bits are gone and 0x76 more is not yet 0x80.
    let digits = bytes ^ u64::from_le_bytes([b'0'; 8]);
    if (digits | digits.wrapping_add(u64::from_le_bytes([0x76; 8]))) & HIGH != 0 {
        return None;
    }
    // Pairs, then all four of them at once.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let even = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let odd = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some(even.wrapping_add(odd) >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_plain_integers_are_read() {
        for item in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "1.5",
            "1e3",
            " 1",
            "1 ",
            "+1",
            "0x1",
            "1-",
            "12345678-",
            "1234567:",
            "/1234567",
            "12345678901234567",
        ] {
            assert_eq!(read(item.as_bytes()), None, "{item:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_of_any_length_are_read_as_they_were_written(number in any::<i64>(), shift in 0..64_u32) {
            let number = number >> shift;
            let mut text = b"before".to_vec();
            put(&mut text, number);
            let text = &text[6..];
            prop_assert_eq!(text, number.to_string().into_bytes());
            let short = text.len() - usize::from(number < 0) <= MOST_DIGITS;
            prop_assert_eq!(read(text), short.then_some(number));
        }

        #[test]
        fn any_text_is_the_number_that_it_says_or_none(text in "[-0-9./: +]{0,20}") {
            if let Some(number) = read(text.as_bytes()) {
                prop_assert_eq!(number.to_string(), text);
            }
        }

        #[test]
        fn any_bytes_are_a_number_in_digits_or_none(text in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(number) = read(&text) {
                prop_assert_eq!(number.to_string().into_bytes(), text);
            }
        }
    }
}
