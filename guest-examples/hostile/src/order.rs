//! What an item orders: a verb, and what follows the first colon.

/// An item such as `flood:10G`, taken apart.
pub struct Order<'a> {
    pub verb: &'a str,
    /// Empty where there is no colon.
    pub rest: &'a str,
}

impl<'a> Order<'a> {
    pub fn parse(item: &'a str) -> Self {
        let (verb, rest) = item.split_once(':').unwrap_or((item, ""));
        Self { verb, rest }
    }

    /// The rest as a number with an optional K, M or G of 1024.
    pub fn amount(&self, default: u64) -> u64 {
        let digits = self.rest.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match self.rest[digits.len()..].bytes().next() {
            Some(b'K') => 10,
            Some(b'M') => 20,
            Some(b'G') => 30,
            _ => 0,
        };
        digits.parse().map_or(default, |number: u64| number << unit)
    }
}
