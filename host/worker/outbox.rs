//! Replies on their way to the host: gathered by the task loop, written when
//! there is nothing else to do, when there are many, or 1 ms later by the
//! flusher, so that a finished result never waits behind a task that hangs.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use crate::outcome::Form;
use crate::wire::frame::Head;
use crate::wire::run::{MAX_BYTES, MAX_ITEMS, Mark, put_values};
use crate::wire::socket;

/// How long a finished result may wait.
const FLUSH: Duration = Duration::from_millis(1);

/// Empty rounds after which the flusher sleeps until it is called.
const PATIENCE: u32 = 20;

/// Replies that are gathered before they are written.
#[derive(Clone)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
    flusher: std::thread::Thread,
}

/// What was gathered: whole frames, and the values of consecutive items that
/// become one.
#[derive(Default)]
pub(super) struct Replies {
    frames: Vec<u8>,
    open: Option<Open>,
    marks: Vec<Mark>,
    values: Vec<u8>,
}

/// The frame of values in the making.
struct Open {
    head: Head,
    form: Form,
    started_us: u64,
    peak_memory: u64,
}

/// A value as it goes into a frame of many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) form: Form,
    pub(super) started_us: u64,
    pub(super) wall_ns: u32,
    pub(super) peak_memory: u64,
}

impl Replies {
    /// Where the next frame goes.
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        self.close();
        &mut self.frames
    }

    /// Adds the value of an item; how much is gathered now.
    pub(super) fn put(&mut self, head: &Head, common: &Common, value: &[u8]) -> usize {
        let follows = self.open.as_ref().is_some_and(|open| {
            open.head.ticket + self.marks.len() as u64 == head.ticket
                && open.form == common.form
                && open.peak_memory == common.peak_memory
        });
        if !follows || self.marks.len() >= MAX_ITEMS || self.values.len() >= MAX_BYTES {
            self.close();
            let Common { form, started_us, peak_memory, .. } = *common;
            self.open = Some(Open { head: *head, form, started_us, peak_memory });
        }
        self.values.extend_from_slice(value);
        self.marks.push(Mark { end: self.values.len() as u32, wall_ns: common.wall_ns });
        self.len()
    }

    /// Ends the frame of values in the making.
    fn close(&mut self) {
        let Some(Open { head, form, started_us, peak_memory }) = self.open.take() else { return };
        put_values(&mut self.frames, &head, form, started_us, peak_memory, &self.marks, &self.values);
        self.marks.clear();
        self.values.clear();
    }

    /// Bytes gathered.
    pub(super) fn len(&self) -> usize {
        self.frames.len() + self.marks.len() * size_of::<Mark>() + self.values.len()
    }
}

struct Shared {
    replies: Mutex<Replies>,
    /// The flusher is asleep and must be called.
    asleep: AtomicBool,
    host: Arc<OwnedFd>,
}

impl Outbox {
    /// Starts the flusher and waits until it has reported in.
    pub(super) fn start(host: BorrowedFd<'_>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            replies: Mutex::default(),
            asleep: AtomicBool::new(true),
            host: Arc::new(host.try_clone_to_owned()?),
        });
        let (ready, reported) = mpsc::sync_channel(1);
        let flushed = Arc::clone(&shared);
        let body = move || {
            // Nobody listens only when `start` has failed.
            let _unheard = ready.send(());
            flusher(&flushed);
        };
        let thread = std::thread::Builder::new().name("wpool-flusher".to_owned()).stack_size(64 << 10).spawn(body)?;
        reported.recv().map_err(io::Error::other)?;
        Ok(Self { shared, flusher: thread.thread().clone() })
    }

    /// The socket that it writes to.
    pub(super) fn host(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.shared.host)
    }

    /// The replies gathered so far, to append to.
    pub(super) fn replies(&self) -> MutexGuard<'_, Replies> {
        self.shared.lock()
    }

    /// A task is about to run with replies still gathered: makes sure that
    /// the flusher is awake.
    pub(super) fn leave(&self) {
        if self.shared.asleep.load(Ordering::Relaxed) && self.shared.asleep.swap(false, Ordering::AcqRel) {
            self.flusher.unpark();
        }
    }

    /// Writes everything now.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.shared.flush()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> io::Result<()> {
        use std::os::fd::AsFd;
        let mut replies = self.lock();
        let frames = replies.frames();
        if frames.is_empty() {
            return Ok(());
        }
        // The lock is held: order on the socket is the order of the replies.
        socket::send_all(self.host.as_fd(), frames, &[])?;
        frames.clear();
        if frames.capacity() > 1 << 20 {
            frames.shrink_to(64 << 10);
        }
        Ok(())
    }
}

fn flusher(shared: &Shared) {
    let mut empty = 0;
    loop {
        std::thread::sleep(FLUSH);
        let waiting = shared.lock().len() > 0;
        empty = if waiting { 0 } else { empty + 1 };
        if waiting && shared.flush().is_err() {
            // The host is gone; the task loop will see it too.
            return;
        }
        if empty > PATIENCE {
            empty = 0;
            shared.asleep.store(true, Ordering::Release);
            // A call between the store and the park makes the park return.
            while shared.asleep.load(Ordering::Acquire) {
                std::thread::park();
            }
        }
    }
}
