//! Objects that tasks share: which kinds there are, and how one is granted.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of an object, in bytes.
pub const MAX_NAME: usize = 64;

/// Most objects that one pool shares.
pub const MAX_OBJECTS: usize = 256;

/// Most items that a queue holds, and permits that a semaphore has.
pub const MAX_BOUND: u64 = 1_000_000;

/// How grants are written.
pub const FORMS: &str = "queue:NAME:ITEMS, lock:NAME, semaphore:NAME:PERMITS, counter:NAME, event:NAME or kv:NAME";

/// What an object does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedKind {
    /// Hands values from tasks to tasks.
    Queue,
    /// Is held by one task at a time.
    Lock,
    /// Has permits that tasks hold.
    Semaphore,
    /// Counts.
    Counter,
    /// Lets tasks wait until it is set.
    Event,
    /// Keeps values by keys.
    #[serde(rename = "kv")]
    KeyValue,
}

impl SharedKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Queue, Self::Lock, Self::Semaphore, Self::Counter, Self::Event, Self::KeyValue];

    /// The name, as `--shared` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Lock => "lock",
            Self::Semaphore => "semaphore",
            Self::Counter => "counter",
            Self::Event => "event",
            Self::KeyValue => "kv",
        }
    }

    /// Whether a grant says how much it holds.
    #[must_use]
    pub const fn is_bounded(self) -> bool {
        match self {
            Self::Queue | Self::Semaphore => true,
            Self::Lock | Self::Counter | Self::Event | Self::KeyValue => false,
        }
    }
}

impl fmt::Display for SharedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A shared object that tasks may open, by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SharedGrant {
    /// What it does.
    pub kind: SharedKind,
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Items of a queue, permits of a semaphore; 1 of all others.
    pub bound: u64,
}

impl SharedGrant {
    /// A grant of an object; of one that is not bounded, with a bound of 1.
    ///
    /// # Errors
    /// A name or a bound that no object can have, in words.
    pub fn new(kind: SharedKind, name: impl Into<String>, bound: u64) -> Result<Self, String> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
            return Err(format!(
                "{name:?} is no name of a shared object; expected 1 to {MAX_NAME} letters, digits, -, _ or ."
            ));
        }
        if !(1..=MAX_BOUND).contains(&bound) {
            return Err(format!("{bound} is out of range; expected 1 to {MAX_BOUND}"));
        }
        Ok(Self { kind, name, bound })
    }
}

/// Whether one pool can share all of these.
///
/// # Errors
/// Too many, or two of one kind and name, in words.
pub fn check(grants: &[SharedGrant]) -> Result<(), String> {
    if grants.len() > MAX_OBJECTS {
        return Err(format!("{} shared objects are too many; a pool shares at most {MAX_OBJECTS}", grants.len()));
    }
    let mut seen = HashSet::new();
    match grants.iter().find(|grant| !seen.insert((grant.kind, &grant.name))) {
        Some(SharedGrant { kind, name, .. }) => Err(format!("{kind}:{name} is shared twice; give one another name")),
        None => Ok(()),
    }
}

impl fmt::Display for SharedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)?;
        if self.kind.is_bounded() { write!(f, ":{}", self.bound) } else { Ok(()) }
    }
}

impl FromStr for SharedGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (kind, name, bound) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let Some(kind) = SharedKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return Err(format!("no kind of shared object is called {kind:?}; expected {FORMS}"));
        };
        let form = || FORMS.split(", ").flat_map(|forms| forms.split(" or "));
        let expected = form().find(|form| form.split(':').next() == Some(kind.as_str())).unwrap_or(FORMS);
        let bound = match (kind.is_bounded(), bound) {
            (true, Some(bound)) => bound.parse().map_err(|_| format!("{bound:?} is no number; expected {expected}"))?,
            (false, None) => 1,
            (true, None) | (false, Some(_)) => return Err(format!("expected {expected}")),
        };
        match name {
            Some(name) if parts.next().is_none() => Self::new(kind, name, bound),
            _ => Err(format!("expected {expected}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_written_as_they_are_read() {
        for text in ["queue:jobs:1000", "lock:l", "semaphore:s:3", "counter:hits", "event:go", "kv:a.b-c_9"] {
            assert_eq!(text.parse::<SharedGrant>().map(|grant| grant.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_grant_is_refused_with_the_form() {
        for (text, expected) in [
            ("queue:jobs", "expected queue:NAME:ITEMS"),
            ("queue:jobs:many", "expected queue:NAME:ITEMS"),
            ("queue:jobs:0", "out of range"),
            ("queue:jobs:1000001", "out of range"),
            ("semaphore:s", "expected semaphore:NAME:PERMITS"),
            ("lock", "expected lock:NAME"),
            ("lock:", "is no name"),
            ("lock:a:1", "expected lock:NAME"),
            ("lock:a:1:2", "expected lock:NAME"),
            ("counter:a b", "is no name"),
            ("kv:ä", "is no name"),
            ("", "expected queue:NAME:ITEMS, lock:NAME"),
            ("mutex:a", "expected queue:NAME:ITEMS, lock:NAME"),
        ] {
            let refused = text.parse::<SharedGrant>().expect_err(text);
            assert!(refused.contains(expected), "{text}: {refused}");
        }
        assert!(format!("event:{}", "x".repeat(65)).parse::<SharedGrant>().is_err());
    }
}
