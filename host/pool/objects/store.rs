//! A key-value store, bounded in keys and bytes. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::pool::objects::{MAX_BYTES, MAX_STORED};
use crate::wire::objects::{Answer, MAX_KEYS, Request};

/// Values by their keys.
#[derive(Debug, Default)]
pub(super) struct Store {
    values: BTreeMap<String, Bytes>,
    /// Of keys and values together.
    bytes: usize,
}

impl Store {
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::Get(key) => self.values.get(key).map_or(Answer::No, |value| Answer::Value(value.clone())),
            Request::Set(key, value) => self.set(key, value).map_or_else(Answer::Refused, |()| Answer::Yes),
            Request::Delete(key) => match self.values.remove(key) {
                Some(value) => {
                    self.bytes -= key.len() + value.len();
                    Answer::Yes
                }
                None => Answer::No,
            },
            Request::Exists(key) if self.values.contains_key(key) => Answer::Yes,
            Request::Keys(from) => self.keys(*from),
            Request::Increment(key, delta) => {
                self.increment(key, *delta).map_or_else(Answer::Refused, |sum| Answer::Number(sum.cast_signed()))
            }
            _ => Answer::No,
        }
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let old = self.values.get(key).map(|old| key.len() + old.len());
        let bytes = self.bytes - old.unwrap_or(0) + key.len() + value.len();
        if bytes > MAX_BYTES {
            return Err(format!("the store is full: it takes {MAX_BYTES} bytes of keys and values"));
        }
        if old.is_none() && self.values.len() >= MAX_STORED {
            return Err(format!("the store is full: it takes {MAX_STORED} keys"));
        }
        self.bytes = bytes;
        // Its own: what was received may be part of a larger block.
        self.values.insert(key.to_owned(), Bytes::copy_from_slice(value));
        Ok(())
    }

    /// As many keys as one answer takes, from the position `from` on.
    fn keys(&self, from: u64) -> Answer {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let mut room = MAX_KEYS;
        let mut keys = Vec::new();
        for key in self.values.keys().skip(from) {
            let Some(left) = room.checked_sub(key.len() + 2) else {
                let next = (from + keys.len()) as u64;
                return Answer::Keys(keys, Some(next));
            };
            room = left;
            keys.push(key.clone());
        }
        Answer::Keys(keys, None)
    }

    fn increment(&mut self, key: &str, delta: u64) -> Result<u64, String> {
        let now = match self.values.get(key) {
            None => 0,
            Some(value) => std::str::from_utf8(value)
                .ok()
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or("the value is no number in decimal digits")?,
        };
        let sum = now.checked_add(delta).ok_or("the sum is over 64 bits")?;
        self.set(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }
}
