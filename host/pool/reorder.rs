//! The reorder buffer: takes results by position in any order, gives them out
//! in order. Pure; bounded by whoever hands out positions.

use std::collections::{BTreeMap, VecDeque};

/// Places that are made ahead of a result.
const FAR: usize = 256;

/// Results waiting for those before them: single ones, and runs `R` of
/// consecutive ones.
#[derive(Debug)]
pub struct Reorder<T, R> {
    first: u64,
    waiting: VecDeque<Option<T>>,
    /// Results far ahead of all that wait: places for those between would take
    /// longer to make than a search.
    far: BTreeMap<u64, T>,
    /// By the position of their first result.
    runs: BTreeMap<u64, (u64, R)>,
}

/// What comes out next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T, R> {
    /// One result.
    One(T),
    /// A run.
    Many(R),
}

impl<T, R> Default for Reorder<T, R> {
    fn default() -> Self {
        Self { first: 0, waiting: VecDeque::new(), far: BTreeMap::new(), runs: BTreeMap::new() }
    }
}

impl<T, R> Reorder<T, R> {
    /// Position that is given out next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first
    }

    /// Takes the result of `position`. False when it was there already, or
    /// was given out before: the result is dropped.
    pub fn insert(&mut self, position: u64, result: T) -> bool {
        let Some(offset) = position.checked_sub(self.first) else { return false };
        let offset = offset as usize;
        if self.far.contains_key(&position) {
            return false;
        }
        if offset > self.waiting.len() + FAR {
            self.far.insert(position, result);
            return true;
        }
        if offset >= self.waiting.len() {
            self.waiting.resize_with(offset + 1, || None);
        }
        let place = &mut self.waiting[offset];
        if place.is_some() {
            return false;
        }
        *place = Some(result);
        true
    }

    /// Takes the results of `count` positions from `position` on. False when
    /// the first was there already, or was given out before.
    pub fn insert_run(&mut self, position: u64, count: usize, run: R) -> bool {
        if position < self.first || self.runs.contains_key(&position) {
            return false;
        }
        self.runs.insert(position, (count as u64, run));
        true
    }

    fn far_is_ready(&self) -> bool {
        self.far.first_key_value().is_some_and(|(position, _)| *position == self.first)
    }

    fn run_is_ready(&self) -> bool {
        self.runs.first_key_value().is_some_and(|(position, _)| *position == self.first)
    }

    /// Whether the next result is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.waiting.front(), Some(Some(_))) || self.far_is_ready() || self.run_is_ready()
    }

    /// The next result in order, if it is there.
    pub fn pop(&mut self) -> Option<Next<T, R>> {
        if let Some(Some(_)) = self.waiting.front() {
            self.first += 1;
            return self.waiting.pop_front().flatten().map(Next::One);
        }
        if self.far_is_ready() {
            self.first += 1;
            self.waiting.pop_front();
            return self.far.pop_first().map(|(_, result)| Next::One(result));
        }
        if !self.run_is_ready() {
            return None;
        }
        let (_, (count, run)) = self.runs.pop_first()?;
        self.first += count;
        let passed = self.waiting.len().min(count as usize);
        self.waiting.drain(..passed);
        Some(Next::Many(run))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Next, Reorder};

    fn drain(buffer: &mut Reorder<u64, Vec<u64>>, out: &mut Vec<u64>) {
        while let Some(next) = buffer.pop() {
            match next {
                Next::One(one) => out.push(one),
                Next::Many(many) => out.extend(many),
            }
        }
    }

    #[test]
    fn results_come_out_in_order_whatever_the_arrival() {
        let (mut buffer, mut out) = (Reorder::default(), Vec::new());
        assert!(buffer.insert(5, 5));
        assert!(buffer.insert_run(2, 3, vec![2, 3, 4]));
        assert_eq!(buffer.pop(), None);
        assert!(!buffer.is_ready());
        assert!(buffer.insert(0, 0));
        assert!(buffer.insert(1, 1));
        assert!(buffer.is_ready());
        drain(&mut buffer, &mut out);
        assert_eq!((out, buffer.next()), (vec![0, 1, 2, 3, 4, 5], 6));
    }

    #[test]
    fn a_second_result_for_a_position_is_dropped() {
        let mut buffer: Reorder<u64, Vec<u64>> = Reorder::default();
        assert!(buffer.insert(0, 1));
        assert!(!buffer.insert(0, 2));
        assert!(buffer.insert_run(1, 2, vec![2, 3]));
        assert!(!buffer.insert_run(1, 2, vec![4, 5]));
        let mut out = Vec::new();
        drain(&mut buffer, &mut out);
        assert_eq!(out, [1, 2, 3]);
        assert!(!buffer.insert(0, 3) && !buffer.insert_run(2, 1, vec![3]));
    }

    #[test]
    fn results_far_ahead_come_out_in_their_turn() {
        let (mut buffer, mut out) = (Reorder::default(), Vec::new());
        assert!(buffer.insert(5_000, 5_000) && buffer.insert(1, 1) && buffer.insert(4_999, 4_999));
        assert!(!buffer.insert(5_000, 0) && !buffer.insert(4_999, 0));
        assert!(buffer.waiting.len() < 10, "no places between");
        assert!(buffer.insert_run(2, 4_997, (2..4_999).collect()));
        assert!(buffer.insert(0, 0));
        drain(&mut buffer, &mut out);
        assert_eq!((out, buffer.next()), ((0..=5_000).collect(), 5_001));
        assert!(!buffer.is_ready());
    }

    proptest! {
        #[test]
        fn any_permutation_of_singles_and_runs_comes_out_sorted(
            lengths in prop::collection::vec(0..5_u64, 1..60).prop_flat_map(|lengths| {
                let mut first = 0;
                let parts: Vec<(u64, u64)> =
                    lengths.iter().map(|length| { let part = (first, *length); first += length.max(&1); part }).collect();
                Just(parts).prop_shuffle()
            }),
        ) {
            let (mut buffer, mut out) = (Reorder::default(), Vec::new());
            for (first, length) in lengths {
                let new = match length {
                    0 => buffer.insert(first, first),
                    _ => buffer.insert_run(first, length as usize, (first..first + length).collect()),
                };
                prop_assert!(new);
                drain(&mut buffer, &mut out);
            }
            prop_assert_eq!(&out, &(0..buffer.next()).collect::<Vec<_>>());
            prop_assert!(buffer.pop().is_none());
        }
    }
}
