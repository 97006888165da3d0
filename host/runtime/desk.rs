//! Where a running guest's calls of the pool go: what was granted, which item
//! runs, and the way to the host.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rand_core::TryRng;

use crate::capabilities::{Capabilities, SharedGrant, SharedKind};
use crate::runtime::deterministic::SeededRng;
use crate::wire::objects::{Answer, Call, Level, MAX_LINES, Note, Request};

/// Time between two reports of progress.
const PROGRESS: Duration = Duration::from_millis(25);

/// Which of an item's streams of randomness its seed is from.
const STREAM: u8 = 2;

/// The way to the host.
pub trait Broker: Send + Sync {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the host is gone.
    fn ask(&self, call: &Call) -> io::Result<Answer>;

    /// Tells something that is not answered.
    ///
    /// # Errors
    /// When the host is gone.
    fn tell(&self, note: &Note) -> io::Result<()>;
}

/// What guests of one worker may ask for.
#[derive(Default)]
pub struct Desk {
    grants: Vec<SharedGrant>,
    seed: Option<u64>,
    broker: OnceLock<Box<dyn Broker>>,
    index: AtomicU64,
    attempt: AtomicU32,
    /// Lines of the running task's log.
    lines: AtomicU32,
    /// When its progress was reported last.
    reported: Mutex<Option<Instant>>,
}

impl Desk {
    /// A desk of these grants, without a way to the host yet.
    #[must_use]
    pub fn new(capabilities: &Capabilities) -> Self {
        Self { grants: capabilities.shared.clone(), seed: capabilities.deterministic, ..Self::default() }
    }

    /// Gives it the way to the host; the first one counts.
    pub fn connect(&self, broker: Box<dyn Broker>) {
        self.broker.get_or_init(|| broker);
    }

    /// A task begins.
    pub fn begin(&self, index: u64, attempt: u16) {
        self.index.store(index, Ordering::Relaxed);
        self.attempt.store(attempt.into(), Ordering::Relaxed);
        self.lines.store(0, Ordering::Relaxed);
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The running item's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index.load(Ordering::Relaxed)
    }

    /// How often the running item was started.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// A number to seed a generator with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        let Some(seed) = self.seed else { return std::hash::RandomState::new().build_hasher().finish() };
        let Ok(number) = SeededRng::new(seed, self.index(), STREAM).try_next_u64();
        number
    }

    /// The place of an object among the grants.
    #[must_use]
    pub fn find(&self, kind: SharedKind, name: &str) -> Option<u16> {
        let place = self.grants.iter().position(|grant| grant.kind == kind && grant.name == name)?;
        u16::try_from(place).ok()
    }

    fn broker(&self) -> io::Result<&dyn Broker> {
        self.broker.get().map(Box::as_ref).ok_or_else(|| io::Error::other("no host to ask"))
    }

    /// Asks the host for something of an object.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn ask(&self, object: u16, request: Request) -> io::Result<Answer> {
        self.broker()?.ask(&Call::Object(object, request))
    }

    /// Time until the host ends the task, in nanoseconds.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn remaining(&self) -> io::Result<Option<u64>> {
        match self.broker()?.ask(&Call::Remaining)? {
            Answer::Number(ns) => Ok(Some(ns.unsigned_abs())),
            _ => Ok(None),
        }
    }

    /// Writes a line of the log; one more than are allowed tells the host that
    /// some are missing.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn write(&self, level: Level, text: String) -> io::Result<()> {
        if self.lines.fetch_add(1, Ordering::Relaxed) > MAX_LINES {
            // It would wrap only after days of nothing else.
            self.lines.store(MAX_LINES + 1, Ordering::Relaxed);
            return Ok(());
        }
        self.broker()?.tell(&Note::Line(level, text))
    }

    /// Reports progress, now and then.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn report(&self, done: u64, total: u64) -> io::Result<()> {
        let now = Instant::now();
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_some_and(|last| now.duration_since(last) < PROGRESS) {
            return Ok(());
        }
        *reported = Some(now);
        self.broker()?.tell(&Note::Progress(done, total))
    }
}
