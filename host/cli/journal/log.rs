//! The writing end of a journal. Records are gathered for some milliseconds
//! and written together by a thread of its own, which also brings them to
//! the disk once a second.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How long records are gathered: all that a run that is killed can lose.
const GATHER: Duration = Duration::from_millis(20);

/// Bytes that are written at once, by whoever brings them.
const BLOCK: usize = 256 << 10;

/// Room that the buffer keeps from one write to the next, in bytes.
const KEPT: usize = 1 << 20;

/// How often records are brought to the disk: what a machine that stops can
/// lose.
const SYNC: Duration = Duration::from_secs(1);

/// A handle for writing records; clones write the same journal.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shown: String,
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    file: File,
    buffer: Vec<u8>,
    /// Written, and not on the disk yet.
    unsynced: bool,
    ended: bool,
    error: Option<io::Error>,
    broken: bool,
}

impl State {
    fn flush(&mut self) {
        if self.buffer.is_empty() || self.broken {
            return;
        }
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.unsynced = true;
        self.note(written);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.broken = true;
            self.error = Some(error);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes what was gathered, until the end.
    fn write(&self, disk: &File) {
        let mut synced = Instant::now();
        loop {
            let mut state = self.state();
            while state.buffer.is_empty() && !state.unsynced && !state.ended {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let (mut state, _) = self
                .changed
                .wait_timeout_while(state, GATHER, |state| !state.ended)
                .unwrap_or_else(PoisonError::into_inner);
            state.flush();
            let ended = state.ended;
            if state.unsynced && (ended || synced.elapsed() >= SYNC) {
                state.unsynced = false;
                // Not under the lock: a disk may take its time.
                drop(state);
                let done = disk.sync_data();
                synced = Instant::now();
                self.state().note(done);
            }
            if ended {
                return;
            }
        }
    }
}

impl Log {
    /// Goes on behind what `file` holds.
    pub fn start(file: File, shown: String) -> io::Result<Self> {
        let disk = file.try_clone()?;
        let state = State { file, buffer: Vec::new(), unsynced: true, ended: false, error: None, broken: false };
        let shared =
            Arc::new(Shared { shown, state: Mutex::new(state), changed: Condvar::new(), thread: Mutex::default() });
        let writing = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("wpool-journal".to_owned()).spawn(move || writing.write(&disk))?;
        *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Self { shared })
    }

    /// Appends what `put` makes: whole lines. Nothing after an error.
    pub fn append(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.shared.state();
        if state.broken || state.ended {
            return;
        }
        let idle = state.buffer.is_empty();
        put(&mut state.buffer);
        if state.buffer.len() >= BLOCK {
            state.flush();
        } else if idle {
            self.shared.changed.notify_all();
        }
    }

    /// Why nothing is written any more, once.
    pub fn take_error(&self) -> Option<Error> {
        let error = self.shared.state().error.take()?;
        Some(Error::io(format!("cannot write the journal {}", self.shared.shown))(error))
    }

    /// Writes the rest.
    pub fn finish(self) -> Result<(), Error> {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It does not panic.
            let _panicked = thread.join();
        }
        self.take_error().map_or(Ok(()), Err)
    }
}
