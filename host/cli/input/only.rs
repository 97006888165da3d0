//! `--only 48213,7-9`: which items of a source are run.

use std::str::FromStr;

use crate::error::Error;

/// A set of indices, as sorted ranges that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    /// First and last index of each range.
    ranges: Vec<(u64, u64)>,
    /// The highest index that was asked for by itself or begins a range.
    needed: u64,
}

impl Only {
    /// Whether an item is to be run.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= index);
        after > 0 && index <= self.ranges[after - 1].1
    }

    /// The last index that is wanted.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ranges.last().map_or(0, |(_, last)| *last)
    }

    /// The highest index that must be there: what a range asks for beyond its
    /// first may be missing, so that `100-999999` is all from 100 on.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.needed
    }

    /// How many items are wanted of a source of `count`.
    #[must_use]
    pub fn count_of(&self, count: u64) -> u64 {
        let within = |(first, last): &(u64, u64)| last.saturating_add(1).min(count).saturating_sub(*first);
        self.ranges.iter().map(within).fold(0, u64::saturating_add)
    }
}

impl FromStr for Only {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |part: &str| Error::Usage(format!("--only: {part:?} is neither an index nor a range such as 7-9"));
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u64 = first.trim().parse().map_err(|_| wrong(part))?;
            let last: u64 = last.trim().parse().map_err(|_| wrong(part))?;
            if last < first {
                return Err(wrong(part));
            }
            ranges.push((first, last));
        }
        let needed = ranges.iter().map(|(first, _)| *first).max().unwrap_or_default();
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self { ranges: merged, needed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_ranges_in_any_order() {
        let only: Only = "48213,7-9,8-12, 0".parse().unwrap();
        let wanted: Vec<u64> = (0..20).filter(|index| only.contains(*index)).collect();
        assert_eq!(wanted, [0, 7, 8, 9, 10, 11, 12]);
        assert!(only.contains(48213) && !only.contains(48214));
        assert_eq!((only.last(), only.needed()), (48213, 48213));
        assert_eq!("0,7-9,8".parse::<Only>().unwrap().needed(), 8);
        assert_eq!((only.count_of(10), only.count_of(100_000)), (4, 8));
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for text in ["", "a", "3-", "-3", "9-7", "1,,2"] {
            assert_eq!(text.parse::<Only>().unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
