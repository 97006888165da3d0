//! Durations, sizes and counts as people write them on a command line, and
//! back. Pure; every refusal says what would be accepted.

use std::fmt::Write as _;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::limits::{GIB, KIB, LARGEST_PAYLOAD, LARGEST_STACK, MIB, MOST_PROCESSES};

/// One tebibyte, in bytes.
const TIB: u64 = 1 << 40;

/// The longest duration: clocks can always be advanced by it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The largest size, in bytes: sums of a few never overflow.
const LARGEST: u64 = 1 << 48;

/// A number and the unit behind it: `1.5` and `GiB`.
fn number_and_unit(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit);
    number.starts_with(|c: char| c.is_ascii_digit()).then_some((number, unit.trim(), rest))
}

/// Says what is wrong with `-1`.
fn not_negative(text: &str) -> Result<(), String> {
    if text.trim_start().starts_with('-') { Err("must not be negative".to_owned()) } else { Ok(()) }
}

/// `number × scale`, exactly for whole numbers, rounded for fractions.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if fraction.len() > 18 || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(scale)?;
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()?.checked_mul(scale)? / 10_u128.pow(u32::try_from(fraction.len()).ok()?)
    };
    whole.checked_add(part)
}

/// A duration: `2s`, `300ms`, `1m30s`, `1.5h`; a bare number is seconds. May
/// be zero.
///
/// # Errors
/// When it is none, or longer than 100 years.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 2s, 300ms or 1m30s";
    not_negative(text)?;
    let mut rest = text.trim();
    let bare = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or(EXPECTED)?;
        let scale: u128 = match unit {
            "" if bare => 1_000_000_000,
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" | "sec" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" => return Err(format!("a unit is missing; {EXPECTED}")),
            _ => return Err(format!("unknown unit {unit:?} (ns, us, ms, s, m, h, d)")),
        };
        nanos = scaled(number, scale).and_then(|part| nanos.checked_add(part)).ok_or("too long; at most 36500d")?;
        rest = after.trim_start();
    }
    if text.trim().is_empty() {
        return Err(EXPECTED.to_owned());
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| "too long; at most 36500d")?;
    let duration = Duration::new(seconds, (nanos % 1_000_000_000) as u32);
    if duration > LONGEST { Err("too long; at most 36500d".to_owned()) } else { Ok(duration) }
}

/// A duration over zero.
///
/// # Errors
/// As [`duration_or_zero`], and for zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        some => Ok(some),
    }
}

/// A time that may be unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaybeDuration(pub Option<Duration>);

/// A duration over zero, or `none`.
///
/// # Errors
/// As [`duration`].
pub fn duration_or_none(text: &str) -> Result<MaybeDuration, String> {
    if text == "none" {
        return Ok(MaybeDuration(None));
    }
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be longer than 0 (none switches the limit off)".to_owned()),
        some => Ok(MaybeDuration(Some(some))),
    }
}

/// A size in bytes: `512k`, `64MiB`, `1GB`, `1.5GiB`. `k`, `m`, `g` and `t`
/// alone and with `iB` are powers of 1024, with `B` powers of 1000. May be
/// zero.
///
/// # Errors
/// When it is none, or over 256 TiB.
pub fn size_or_zero(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a size such as 512KiB, 64MiB or 1GB";
    not_negative(text)?;
    let Some((number, unit, "")) = number_and_unit(text.trim()) else { return Err(EXPECTED.to_owned()) };
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => KIB,
        "m" | "mib" => MIB,
        "g" | "gib" => GIB,
        "t" | "tib" => TIB,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("unknown unit {unit:?} (k, m, g, KiB, MiB, GiB, kB, MB, GB)")),
    };
    let bytes = scaled(number, u128::from(scale)).ok_or(EXPECTED)?;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes <= LARGEST => Ok(bytes),
        _ => Err("too large; at most 256TiB".to_owned()),
    }
}

/// A size over zero.
///
/// # Errors
/// As [`size_or_zero`], and for zero.
pub fn size(text: &str) -> Result<u64, String> {
    match size_or_zero(text)? {
        0 => Err("must be more than 0".to_owned()),
        some => Ok(some),
    }
}

/// The size of an item or a result.
///
/// # Errors
/// As [`size`], and over 1 GiB.
pub fn payload(text: &str) -> Result<u64, String> {
    size(text)
        .and_then(|size| if size > LARGEST_PAYLOAD { Err("too large; at most 1GiB".to_owned()) } else { Ok(size) })
}

/// The size of a wasm stack.
///
/// # Errors
/// As [`size`], and over 1 GiB.
pub fn stack(text: &str) -> Result<u64, String> {
    size(text).and_then(|size| if size > LARGEST_STACK { Err("too large; at most 1GiB".to_owned()) } else { Ok(size) })
}

/// A size that the machine may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoSize(pub Option<u64>);

/// A size over zero, or `auto`.
///
/// # Errors
/// As [`size`].
pub fn size_or_auto(text: &str) -> Result<AutoSize, String> {
    if text == "auto" { Ok(AutoSize(None)) } else { size(text).map(|size| AutoSize(Some(size))) }
}

/// A count over zero; `k`, `M`, `G` stand for thousands, `_` may divide it.
///
/// # Errors
/// When it is none.
pub fn count(text: &str) -> Result<NonZeroU64, String> {
    const EXPECTED: &str = "expected a whole number of at least 1, such as 100, 5_000 or 10M";
    not_negative(text)?;
    let Some((number, unit, "")) = number_and_unit(text.trim()) else { return Err(EXPECTED.to_owned()) };
    let scale = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return Err(EXPECTED.to_owned()),
    };
    if scale == 1 && number.contains('.') {
        return Err(EXPECTED.to_owned());
    }
    let value = scaled(number, scale).and_then(|value| u64::try_from(value).ok()).ok_or(EXPECTED)?;
    NonZeroU64::new(value).ok_or_else(|| "must be at least 1".to_owned())
}

/// A count of things kept in memory.
///
/// # Errors
/// As [`count`].
pub fn small_count(text: &str) -> Result<NonZeroUsize, String> {
    count(text).and_then(|count| NonZeroUsize::try_from(count).map_err(|_| "too many".to_owned()))
}

/// A number of worker processes.
///
/// # Errors
/// As [`count`], and over 4096.
pub fn processes(text: &str) -> Result<NonZeroUsize, String> {
    let count = small_count(text)?;
    if count.get() > MOST_PROCESSES { Err(format!("too many; at most {MOST_PROCESSES}")) } else { Ok(count) }
}

/// A chunk size that the pool may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoCount(pub Option<NonZeroUsize>);

/// A count over zero, or `auto`.
///
/// # Errors
/// As [`count`].
pub fn count_or_auto(text: &str) -> Result<AutoCount, String> {
    if text == "auto" { Ok(AutoCount(None)) } else { small_count(text).map(|count| AutoCount(Some(count))) }
}

/// A size as [`size`] reads it back exactly: `512MiB`, `1000000 bytes` as
/// `1000000`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.into_iter().find(|(scale, _)| bytes >= *scale && bytes.is_multiple_of(*scale)) {
        Some((scale, unit)) => format!("{}{unit}", bytes / scale),
        None => format!("{bytes}B"),
    }
}

/// A size for people, to three digits: `1.07 MiB`.
#[must_use]
pub fn about_size(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.into_iter().find(|(scale, _)| bytes >= *scale) {
        Some((scale, unit)) => {
            let value = bytes as f64 / scale as f64;
            let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
            format!("{value:.digits$} {unit}")
        }
        None => format!("{bytes} B"),
    }
}

/// A duration as [`duration`] reads it back exactly: 90 seconds as `1m30s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut left = duration.as_nanos();
    let mut shown = String::new();
    for (scale, unit) in UNITS {
        let count = left / scale;
        left %= scale;
        if count > 0 {
            let _ = write!(shown, "{count}{unit}"); // writing to a string cannot fail
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u128 {
        duration(text).unwrap().as_millis()
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2s", 2_000),
            ("300ms", 300),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("2", 2_000),
            ("0.5", 500),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            ("2 s", 2_000),
        ] {
            assert_eq!(ms(text), expected, "{text}");
        }
        assert_eq!(duration("250us").unwrap(), Duration::from_micros(250));
        assert_eq!(duration_or_none("none").unwrap(), MaybeDuration(None));
        assert_eq!(duration_or_zero("0").unwrap(), Duration::ZERO);
    }

    #[test]
    fn odd_durations_are_refused() {
        for text in [
            "",
            " ",
            "s",
            "-1s",
            "nan",
            "NaN",
            "inf",
            "1e3",
            "0",
            "0s",
            "2 parsecs",
            "1m30",
            "1..5s",
            "1.s",
            "none",
            "99999999999999999999999999999999999999999s",
            "36501d",
            "0x10",
            "+1s",
            "1s;",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert!(duration_or_none("0").unwrap_err().contains("none"));
        assert!(duration("5fortnights").unwrap_err().contains("unknown unit"));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("1", 1),
            ("512k", 512 << 10),
            ("512K", 512 << 10),
            ("64MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("1GB", 1_000_000_000),
            ("1.5GiB", 3 << 29),
            ("2 MiB", 2 << 20),
            ("1_000B", 1000),
            ("256TiB", 1 << 48),
        ] {
            assert_eq!(size(text).unwrap(), expected, "{text}");
        }
        assert_eq!(size_or_auto("auto").unwrap(), AutoSize(None));
        assert_eq!(size_or_zero("0").unwrap(), 0);
    }

    #[test]
    fn odd_sizes_are_refused() {
        for text in
            ["", "-1", "nan", "0", "0MiB", "1XB", "1MiB2", "257TiB", "1e9", "99999999999999999999999", "MiB", "0.1B"]
        {
            assert!(size(text).is_err(), "{text:?}");
        }
        assert!(payload("2GiB").is_err());
        assert!(stack("2GiB").is_err());
    }

    #[test]
    fn counts_are_whole_and_over_zero() {
        assert_eq!(count("5_000").unwrap().get(), 5000);
        assert_eq!(count("10M").unwrap().get(), 10_000_000);
        assert_eq!(count("1.5k").unwrap().get(), 1500);
        for text in ["", "0", "-1", "1.5", "ten", "1e3", "99999999999999999999", "1Q", "nan"] {
            assert!(count(text).is_err(), "{text:?}");
        }
        assert!(processes("5000").is_err());
        assert_eq!(count_or_auto("auto").unwrap(), AutoCount(None));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for bytes in [1, 1000, KIB, 512 * KIB, 3 * MIB, MIB + 1, 4 * GIB, TIB] {
            assert_eq!(size(&show_size(bytes)).unwrap(), bytes);
        }
        for text in ["2s", "300ms", "1m30s", "1h", "1ms500us"] {
            assert_eq!(duration(&show_duration(duration(text).unwrap())).unwrap(), duration(text).unwrap());
        }
        assert_eq!(show_size(512 * MIB), "512MiB");
        assert_eq!(about_size(1_114_112), "1.06 MiB");
    }
}
