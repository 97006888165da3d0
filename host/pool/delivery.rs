//! What travels from a slot to a job's reader: outcomes, and the values of
//! consecutive items, which become outcomes where they are read.

use std::time::{Duration, UNIX_EPOCH};

use crate::outcome::{Captured, Form, Outcome, Usage, Value};
use crate::wire::run::{Packing, Values, number};

/// Values of consecutive items that one worker ran.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Index of the first item in the input.
    pub index: u64,
    /// The slot whose worker ran them.
    pub worker: u32,
    /// The values.
    pub values: Values,
}

impl Finished {
    /// Items in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.values.weight()
    }
}

/// What a slot hands to a job.
#[derive(Debug)]
pub enum Delivery {
    /// One outcome.
    One(Outcome),
    /// Values.
    Many(Finished),
}

impl Delivery {
    /// Outcomes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(finished) => finished.len(),
        }
    }

    /// Bytes that it keeps in memory until it is read.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::One(outcome) => outcome.weight(),
            Self::Many(finished) => finished.weight(),
        }
    }
}

/// A value as it came.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// Its bytes, which are of this form.
    Plain(Form, &'a [u8]),
    /// The number of a JSON integer.
    Integer(i64),
}

/// Reads a delivery outcome by outcome.
#[derive(Debug)]
pub struct Cursor {
    finished: Finished,
    weight: usize,
    next: usize,
    start: usize,
    started_us: u64,
}

impl Cursor {
    /// Before the first value.
    #[must_use]
    pub fn new(finished: Finished) -> Self {
        let (started_us, weight) = (finished.values.started_us, finished.weight());
        Self { finished, weight, next: 0, start: 0, started_us }
    }

    /// Bytes that it kept in memory when it came.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Whether a value is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next >= self.finished.len()
    }

    /// Moves on to the next value: the index of its item, its place among the
    /// bytes, and the time it took.
    fn advance(&mut self) -> Option<(u64, std::ops::Range<usize>, Duration)> {
        if self.finished.values.packing == Packing::Integers {
            self.unpack();
        }
        let mark = self.finished.values.mark(self.next)?;
        let place = self.start..mark.end as usize;
        let index = self.finished.index + self.next as u64;
        self.start = place.end;
        self.next += 1;
        Some((index, place, Duration::from_nanos(mark.wall_ns.into())))
    }

    /// From here on values have bytes.
    #[cold]
    fn unpack(&mut self) {
        let values = &mut self.finished.values;
        *values = values.clone().into_plain();
        self.start = self.next.checked_sub(1).and_then(|last| values.mark(last)).map_or(0, |mark| mark.end as usize);
    }

    /// The next value as it stands, with its item's index.
    pub fn next_bytes(&mut self) -> Option<(u64, Form, &[u8])> {
        let (index, place, _wall) = self.advance()?;
        let values = &self.finished.values;
        Some((index, values.packing.form(), values.bytes.get(place)?))
    }

    /// Gives all that are left to `take`, as they stand, until that fails; how
    /// many it took.
    pub fn give<E>(&mut self, mut take: impl FnMut(u64, Given<'_>) -> Result<(), E>) -> (usize, Result<(), E>) {
        let Finished { index, values, .. } = &self.finished;
        let first = self.next;
        for mark in values.marks(first) {
            let Some(value) = values.bytes.get(self.start..mark.end as usize) else { break };
            let given = match values.packing {
                Packing::Plain(form) => Given::Plain(form, value),
                Packing::Integers => number(value).map_or(Given::Plain(Form::Json, value), Given::Integer),
            };
            let taken = take(index + self.next as u64, given);
            self.start = mark.end as usize;
            self.next += 1;
            if let Err(error) = taken {
                return (self.next - first, Err(error));
            }
        }
        (self.next - first, Ok(()))
    }
}

impl Iterator for Cursor {
    type Item = Outcome;

    fn next(&mut self) -> Option<Outcome> {
        let (index, place, wall) = self.advance()?;
        let values = &self.finished.values;
        let started = UNIX_EPOCH.checked_add(Duration::from_micros(self.started_us));
        self.started_us = self.started_us.saturating_add(wall.as_micros() as u64);
        Some(Outcome {
            index,
            result: Ok(Value { form: values.packing.form(), bytes: values.bytes.slice(place) }),
            attempts: 1,
            worker: Some(self.finished.worker),
            started,
            usage: Usage { wall, cpu: wall, fuel: None, peak_memory: values.peak_memory },
            captured: Captured::default(),
            tag: None,
        })
    }
}
