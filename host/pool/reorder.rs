//! The reorder buffer: takes results by position in any order, gives them out
//! in order. Pure; bounded by whoever hands out positions.

use std::collections::VecDeque;

/// Results waiting for those before them.
#[derive(Debug)]
pub struct Reorder<T> {
    first: u64,
    waiting: VecDeque<Option<T>>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self { first: 0, waiting: VecDeque::new() }
    }
}

impl<T> Reorder<T> {
    /// Position that is given out next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first
    }

    /// Places between the next position and the last one that is there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the result of `position`. False when it was there already, or
    /// was given out before: the result is dropped.
    pub fn insert(&mut self, position: u64, result: T) -> bool {
        let Some(offset) = position.checked_sub(self.first) else { return false };
        let offset = offset as usize;
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

    /// Whether the next result is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.waiting.front(), Some(Some(_)))
    }

    /// The next result in order, if it is there.
    pub fn pop(&mut self) -> Option<T> {
        if !self.is_ready() {
            return None;
        }
        self.first += 1;
        self.waiting.pop_front().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Reorder;

    #[test]
    fn results_come_out_in_order_whatever_the_arrival() {
        let mut buffer = Reorder::default();
        assert!(buffer.insert(2, 'c'));
        assert_eq!(buffer.pop(), None);
        assert!(buffer.insert(0, 'a'));
        assert!(buffer.insert(1, 'b'));
        assert_eq!(std::iter::from_fn(|| buffer.pop()).collect::<String>(), "abc");
        assert_eq!(buffer.next(), 3);
    }

    #[test]
    fn a_second_result_for_a_position_is_dropped() {
        let mut buffer = Reorder::default();
        assert!(buffer.insert(0, 1));
        assert!(!buffer.insert(0, 2));
        assert_eq!(buffer.pop(), Some(1));
        assert!(!buffer.insert(0, 3));
    }

    proptest! {
        #[test]
        fn any_permutation_comes_out_sorted(order in Just((0..200u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut buffer = Reorder::default();
            let mut out = Vec::new();
            for position in order {
                prop_assert!(buffer.insert(position, position));
                while let Some(result) = buffer.pop() {
                    out.push(result);
                }
            }
            prop_assert_eq!(out, (0..200).collect::<Vec<_>>());
        }
    }
}
