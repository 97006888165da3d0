//! What a running task says to the host: calls of shared objects, which are
//! answered, and notes, which are not. Messages ↔ bytes, pure.
//!
//! All calls have one layout, little-endian: operation u8, object u16, number
//! i64, wait u64, key length u16, key, value. Fields that an operation does not
//! use are zero: anything else is no call.

use bytes::{Buf, BufMut, Bytes};

/// Largest value that an object takes, in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// Longest key of a key-value store, in bytes.
pub const MAX_KEY: usize = 1024;

/// Most bytes of keys in one answer, beside their lengths.
pub const MAX_KEYS: usize = 64 << 10;

/// Longest line of a log, in bytes.
pub const MAX_LINE: usize = 4096;

/// Most lines of one task's log.
pub const MAX_LINES: u32 = 1000;

/// The place of the object in calls that are about none.
const NO_OBJECT: u16 = u16::MAX;

/// Bytes of a call before its key.
const FIXED: usize = 1 + 2 + 8 + 8 + 2;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until it can be answered.
    Ever,
    /// For so many nanoseconds; not at all for 0.
    For(u64),
}

impl Wait {
    /// As guests say it.
    #[must_use]
    pub fn of(ns: Option<u64>) -> Self {
        // 584 years are for ever.
        ns.filter(|ns| *ns != u64::MAX).map_or(Self::Ever, Self::For)
    }

    fn number(self) -> u64 {
        match self {
            Self::Ever => u64::MAX,
            Self::For(ns) => ns,
        }
    }
}

/// What is done with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Queue: adds a value.
    Put(Bytes, Wait),
    /// Queue: takes the first value.
    Take(Wait),
    /// Queue: how many values are in it.
    Size,
    /// Queue: one value is dealt with.
    TaskDone,
    /// Queue: waits until all are.
    Join(Wait),
    /// Lock, semaphore: takes a permit.
    Acquire(Wait),
    /// Lock, semaphore: gives a permit back.
    Release,
    /// Counter: adds, and tells the sum.
    Add(i64),
    /// Counter: tells.
    Count,
    /// Counter: sets, and tells what it was.
    Reset(i64),
    /// Event: sets it.
    Raise,
    /// Event: clears it.
    Lower,
    /// Event: whether it is set.
    IsRaised,
    /// Event: waits until it is set.
    Await(Wait),
    /// Key-value: the value of a key.
    Get(String),
    /// Key-value: gives a key a value.
    Set(String, Bytes),
    /// Key-value: removes a key.
    Delete(String),
    /// Key-value: whether a key is there.
    Exists(String),
    /// Key-value: keys from this position on.
    Keys(u64),
    /// Key-value: adds to a number.
    Increment(String, u64),
}

/// What a task asks its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Something of the object at this place among the grants.
    Object(u16, Request),
    /// How long it may still run.
    Remaining,
}

/// What the host says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done, or is so.
    Yes,
    /// It was not done in time, or is not so, or there is none.
    No,
    /// A number.
    Number(i64),
    /// A value.
    Value(Bytes),
    /// Keys, and the position of those after them.
    Keys(Vec<String>, Option<u64>),
    /// It cannot be done, and why.
    Refused(String),
}

/// What a task tells its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A line of its log.
    Line(Level, String),
    /// So many steps of so many are done; of 0 where that is not known.
    Progress(u64, u64),
}

/// How much a line of a log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Every step.
    Trace,
    /// For who looks for a mistake.
    Debug,
    /// For who watches.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is.
    Error,
}

impl Level {
    /// Every level, from what matters least.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// Its name, as guests call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl Call {
    /// The call's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        use Request::{
            Acquire, Add, Await, Count, Delete, Exists, Get, Increment, IsRaised, Join, Keys, Lower, Put, Raise,
            Release, Reset, Set, Size, Take, TaskDone,
        };
        let Self::Object(object, request) = self else { return put(0, NO_OBJECT, 0, 0, "", b"") };
        let object = *object;
        match request {
            Put(value, wait) => put(1, object, 0, wait.number(), "", value),
            Take(wait) => put(2, object, 0, wait.number(), "", b""),
            Size => put(3, object, 0, 0, "", b""),
            TaskDone => put(4, object, 0, 0, "", b""),
            Join(wait) => put(5, object, 0, wait.number(), "", b""),
            Acquire(wait) => put(6, object, 0, wait.number(), "", b""),
            Release => put(7, object, 0, 0, "", b""),
            Add(delta) => put(8, object, *delta, 0, "", b""),
            Count => put(9, object, 0, 0, "", b""),
            Reset(value) => put(10, object, *value, 0, "", b""),
            Raise => put(11, object, 0, 0, "", b""),
            Lower => put(12, object, 0, 0, "", b""),
            IsRaised => put(13, object, 0, 0, "", b""),
            Await(wait) => put(14, object, 0, wait.number(), "", b""),
            Get(key) => put(15, object, 0, 0, key, b""),
            Set(key, value) => put(16, object, 0, 0, key, value),
            Delete(key) => put(17, object, 0, 0, key, b""),
            Exists(key) => put(18, object, 0, 0, key, b""),
            Keys(from) => put(19, object, from.cast_signed(), 0, "", b""),
            Increment(key, delta) => put(20, object, delta.cast_signed(), 0, key, b""),
        }
    }

    /// The call that bytes are; `None` where they are none.
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let mut rest = payload.clone();
        if rest.len() < FIXED {
            return None;
        }
        let (operation, object) = (rest.get_u8(), rest.get_u16_le());
        let (number, wait, length) = (rest.get_i64_le(), rest.get_u64_le(), usize::from(rest.get_u16_le()));
        if length > MAX_KEY || rest.len() < length || rest.len() - length > MAX_VALUE {
            return None;
        }
        let key = String::from_utf8(rest.split_to(length).to_vec()).ok()?;
        let call = if operation == 0 {
            Self::Remaining
        } else {
            Self::Object(object, request(operation, number, wait, key, rest)?)
        };
        // What it does not use must not be there.
        (call.to_bytes() == payload[..]).then_some(call)
    }
}

fn request(operation: u8, number: i64, wait: u64, key: String, value: Bytes) -> Option<Request> {
    let wait = Wait::of(Some(wait));
    Some(match operation {
        1 => Request::Put(value, wait),
        2 => Request::Take(wait),
        3 => Request::Size,
        4 => Request::TaskDone,
        5 => Request::Join(wait),
        6 => Request::Acquire(wait),
        7 => Request::Release,
        8 => Request::Add(number),
        9 => Request::Count,
        10 => Request::Reset(number),
        11 => Request::Raise,
        12 => Request::Lower,
        13 => Request::IsRaised,
        14 => Request::Await(wait),
        15 => Request::Get(key),
        16 => Request::Set(key, value),
        17 => Request::Delete(key),
        18 => Request::Exists(key),
        19 => Request::Keys(number.cast_unsigned()),
        20 => Request::Increment(key, number.cast_unsigned()),
        _ => return None,
    })
}

fn put(operation: u8, object: u16, number: i64, wait: u64, key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED + key.len() + value.len());
    out.put_u8(operation);
    out.put_u16_le(object);
    out.put_i64_le(number);
    out.put_u64_le(wait);
    // A longer one is refused before it comes here.
    let key = &key.as_bytes()[..key.len().min(usize::from(u16::MAX))];
    out.put_u16_le(key.len() as u16);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    out
}

impl Answer {
    /// The answer's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Yes => vec![1],
            Self::No => vec![0],
            Self::Number(number) => [&[2], &number.to_le_bytes()[..]].concat(),
            Self::Value(value) => [&[3], &value[..]].concat(),
            Self::Refused(why) => [&[4], why.as_bytes()].concat(),
            Self::Keys(keys, next) => {
                let mut out = vec![5];
                out.put_u64_le(next.unwrap_or(u64::MAX));
                for key in keys {
                    out.put_u16_le(key.len() as u16);
                    out.extend_from_slice(key.as_bytes());
                }
                out
            }
        }
    }

    /// The answer that bytes are; `None` where they are none.
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let mut rest = payload.clone();
        if rest.is_empty() {
            return None;
        }
        match (rest.get_u8(), rest.len()) {
            (0, 0) => Some(Self::No),
            (1, 0) => Some(Self::Yes),
            (2, 8) => Some(Self::Number(rest.get_i64_le())),
            (3, _) => Some(Self::Value(rest)),
            (4, _) => String::from_utf8(rest.to_vec()).ok().map(Self::Refused),
            (5, 8..) => {
                let next = Some(rest.get_u64_le()).filter(|next| *next != u64::MAX);
                let mut keys = Vec::new();
                while rest.len() >= 2 {
                    let length = usize::from(rest.get_u16_le());
                    if rest.len() < length {
                        return None;
                    }
                    keys.push(String::from_utf8(rest.split_to(length).to_vec()).ok()?);
                }
                rest.is_empty().then_some(Self::Keys(keys, next))
            }
            _ => None,
        }
    }
}

impl Note {
    /// The note's bytes. Of a line that is too long, its beginning.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Line(level, text) => {
                let mut out = vec![1, *level as u8];
                out.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(MAX_LINE)]);
                out
            }
            Self::Progress(done, total) => {
                let mut out = vec![2];
                out.put_u64_le(*done);
                out.put_u64_le(*total);
                out
            }
        }
    }

    /// The note that bytes are; `None` where they are none.
    #[must_use]
    pub fn read(payload: &Bytes) -> Option<Self> {
        let mut rest = payload.clone();
        if rest.is_empty() {
            return None;
        }
        match (rest.get_u8(), rest.len()) {
            (1, length) if (1..=1 + MAX_LINE).contains(&length) => {
                let level = *Level::ALL.get(usize::from(rest.get_u8()))?;
                String::from_utf8(rest.to_vec()).ok().map(|text| Self::Line(level, text))
            }
            (2, 16) => Some(Self::Progress(rest.get_u64_le(), rest.get_u64_le())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calls() -> Vec<Call> {
        use Request::*;
        let (key, value) = ("schlüssel".to_owned(), Bytes::from_static(b"\0value"));
        let requests = vec![
            Put(value.clone(), Wait::Ever),
            Take(Wait::For(0)),
            Size,
            TaskDone,
            Join(Wait::For(7)),
            Acquire(Wait::Ever),
            Release,
            Add(i64::MIN),
            Count,
            Reset(-1),
            Raise,
            Lower,
            IsRaised,
            Await(Wait::For(u64::MAX - 1)),
            Get(key.clone()),
            Set(key.clone(), value),
            Delete(key.clone()),
            Exists(String::new()),
            Keys(u64::MAX),
            Increment(key, u64::MAX),
        ];
        requests.into_iter().map(|request| Call::Object(9, request)).chain([Call::Remaining]).collect()
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        for call in calls() {
            assert_eq!(Call::read(&call.to_bytes().into()), Some(call));
        }
        let keys = vec!["a".to_owned(), String::new(), "ä".repeat(500)];
        for answer in [
            Answer::Yes,
            Answer::No,
            Answer::Number(-3),
            Answer::Value(Bytes::new()),
            Answer::Keys(keys.clone(), Some(3)),
            Answer::Keys(Vec::new(), None),
            Answer::Refused("why".to_owned()),
        ] {
            assert_eq!(Answer::read(&answer.to_bytes().into()), Some(answer));
        }
        for note in [Note::Line(Level::Warn, "\u{1b}[31m".to_owned()), Note::Progress(3, 0)] {
            assert_eq!(Note::read(&note.to_bytes().into()), Some(note));
        }
    }

    #[test]
    fn what_is_over_a_bound_is_no_message() {
        let read = |call: Call| Call::read(&call.to_bytes().into());
        assert_eq!(read(Call::Object(0, Request::Put(vec![0; MAX_VALUE + 1].into(), Wait::Ever))), None);
        assert_eq!(read(Call::Object(0, Request::Get("x".repeat(MAX_KEY + 1)))), None);
        let long = [&[1, 2], &[b'x'; MAX_LINE + 1][..]].concat();
        assert_eq!(Note::read(&long.into()), None);
        let cut = Note::Line(Level::Info, "ä".repeat(MAX_LINE)).to_bytes();
        assert!(matches!(Note::read(&cut.into()), Some(Note::Line(_, text)) if text.len() == MAX_LINE));
    }

    #[test]
    fn a_field_that_means_nothing_must_be_zero() {
        for call in calls() {
            let bytes = [&call.to_bytes()[..], b"x"].concat();
            let takes_values = matches!(call, Call::Object(_, Request::Put(..) | Request::Set(..)));
            assert_eq!(Call::read(&bytes.into()).is_some(), takes_values, "{call:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            if let Some(call) = Call::read(&bytes) {
                prop_assert_eq!(Bytes::from(call.to_bytes()), bytes.clone());
            }
            if let Some(answer) = Answer::read(&bytes) {
                prop_assert_eq!(Bytes::from(answer.to_bytes()), bytes.clone());
            }
            if let Some(note) = Note::read(&bytes) {
                prop_assert_eq!(Bytes::from(note.to_bytes()), bytes);
            }
        }
    }
}
