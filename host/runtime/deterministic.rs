//! Clocks and randomness of `--deterministic`: both follow from the seed and
//! the item's index, never from the machine.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_core::TryRng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// Start of every item's wall clock: the first second of the year 2000.
const START: Duration = Duration::from_secs(946_684_800);
/// What reading a clock costs on it, in nanoseconds.
const READ_NS: u64 = 1_000;

/// A clock that moves only when it is read or slept on; its clones are the
/// same clock.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    elapsed_ns: Arc<AtomicU64>,
}

impl VirtualClock {
    /// Passes time at once, as a sleep of `ns` nanoseconds.
    pub fn advance(&self, ns: u64) {
        let elapsed = self.elapsed_ns.load(Ordering::Relaxed);
        self.elapsed_ns.store(elapsed.saturating_add(ns), Ordering::Relaxed);
    }

    /// Nanoseconds since the item's start, without moving the clock.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns.load(Ordering::Relaxed)
    }

    /// Nanoseconds between 1970 and now, without moving the clock.
    #[must_use]
    pub fn wall_ns(&self) -> u64 {
        (START.as_nanos() as u64).saturating_add(self.elapsed_ns())
    }

    fn read(&self) -> u64 {
        self.advance(READ_NS);
        self.elapsed_ns()
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        READ_NS
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

impl HostWallClock for VirtualClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(READ_NS)
    }

    fn now(&self) -> Duration {
        START.saturating_add(Duration::from_nanos(self.read()))
    }
}

/// Random bytes that follow from a seed: BLAKE3's endless output.
pub struct SeededRng {
    bytes: blake3::OutputReader,
}

impl SeededRng {
    /// The generator of one item; `stream` separates generators that one item
    /// has several of.
    #[must_use]
    pub fn new(seed: u64, index: u64, stream: u8) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("wpool deterministic randomness v1");
        hasher.update(&seed.to_le_bytes()).update(&index.to_le_bytes()).update(&[stream]);
        Self { bytes: hasher.finalize_xof() }
    }
}

impl TryRng for SeededRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.bytes.fill(&mut word);
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.bytes.fill(&mut word);
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        self.bytes.fill(target);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_moves_by_reads_and_sleeps_only() {
        let clock = VirtualClock::default();
        let first = HostMonotonicClock::now(&clock);
        assert_eq!(HostMonotonicClock::now(&clock) - first, READ_NS);
        clock.clone().advance(5_000_000_000);
        assert_eq!(HostWallClock::now(&clock), START + Duration::from_nanos(5_000_000_000 + 3 * READ_NS));
    }

    #[test]
    fn randomness_differs_by_seed_index_and_stream_and_repeats_otherwise() {
        let word = |seed, index, stream| SeededRng::new(seed, index, stream).try_next_u64();
        assert_eq!(word(1, 2, 0), word(1, 2, 0));
        assert_ne!(word(1, 2, 0), word(2, 2, 0));
        assert_ne!(word(1, 2, 0), word(1, 3, 0));
        assert_ne!(word(1, 2, 0), word(1, 2, 1));
    }
}
