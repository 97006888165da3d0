//! Replies on their way to the host: gathered by the task loop, written when
//! there is nothing else to do, when there are many, or 1 ms later by the
//! flusher, so that a finished result never waits behind a task that hangs.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use crate::outcome::Form;
use crate::wire::frame::Head;
use crate::wire::integer;
use crate::wire::run::{MAX_BYTES, MAX_ITEMS, Mark, Packing, put_values};
use crate::wire::socket;
use crate::worker::ledger::Ledger;

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
    ledger: Arc<Ledger>,
    /// What the ledger's next value is the value of, and how many were taken
    /// out of it.
    entered: Option<(Open, usize)>,
}

/// The frame of values in the making.
#[derive(Clone, Copy)]
struct Open {
    head: Head,
    packing: Packing,
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
        self.take_entries();
        self.close();
        &mut self.frames
    }

    /// Adds the value of an item; how much is gathered now.
    pub(super) fn put(&mut self, head: &Head, common: &Common, value: &[u8]) -> usize {
        self.take_entries();
        let Common { form, started_us, peak_memory, .. } = *common;
        self.make_room(Open { head: *head, packing: form.into(), started_us, peak_memory });
        self.values.extend_from_slice(value);
        self.marks.push(Mark { end: self.values.len() as u32, wall_ns: common.wall_ns });
        self.len()
    }

    /// Makes sure of a frame that `next` goes into.
    fn make_room(&mut self, next: Open) {
        let follows = self.open.as_ref().is_some_and(|open| {
            open.head.ticket + self.marks.len() as u64 == next.head.ticket
                && open.packing == next.packing
                && open.peak_memory == next.peak_memory
        });
        if !follows || self.marks.len() >= MAX_ITEMS || self.values.len() >= MAX_BYTES {
            self.close();
            self.open = Some(next);
        }
    }

    /// From now on the ledger gets the values of consecutive items, the first
    /// of them under `head`: JSON integers, packed so, of tasks with this peak of
    /// memory.
    pub(super) fn enter(&mut self, head: &Head, packing: Packing, started_us: u64, peak_memory: u64) -> Arc<Ledger> {
        self.take_entries();
        self.ledger.clear();
        self.entered = Some((Open { head: *head, packing, started_us, peak_memory }, 0));
        Arc::clone(&self.ledger)
    }

    /// Writes the ledger's new values where they belong.
    fn take_entries(&mut self) {
        let Some((mut next, mut taken)) = self.entered.take() else { return };
        let count = self.ledger.len();
        while taken < count {
            self.make_room(next);
            let most =
                (MAX_BYTES.saturating_sub(self.values.len()) / integer::LONGEST + 1).min(MAX_ITEMS - self.marks.len());
            let until = count.min(taken + most);
            let mut wall = 0;
            for (value, wall_ns) in self.ledger.entries(taken, until) {
                match next.packing {
                    Packing::Integers => self.values.extend_from_slice(&value.to_le_bytes()),
                    Packing::Plain(_) => integer::put(&mut self.values, value),
                }
                self.marks.push(Mark { end: self.values.len() as u32, wall_ns });
                wall += u64::from(wall_ns);
            }
            let came = (until - taken) as u64;
            next.head.ticket += came;
            next.head.index += came;
            next.started_us += wall / 1000;
            taken = until;
        }
        self.entered = Some((next, taken));
    }

    /// Ends the frame of values in the making.
    fn close(&mut self) {
        let Some(Open { head, packing, started_us, peak_memory }) = self.open.take() else { return };
        put_values(&mut self.frames, &head, packing, started_us, peak_memory, &self.marks, &self.values);
        self.marks.clear();
        self.values.clear();
    }

    /// Bytes gathered, the ledger's values included.
    pub(super) fn gathered(&mut self) -> usize {
        self.take_entries();
        self.len()
    }

    /// Bytes gathered.
    fn len(&self) -> usize {
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
        self.shared.flush([&[], &[]])
    }

    /// Writes everything now, and then a frame in two parts, from where they
    /// are.
    pub(super) fn flush_with(&self, frame: [&[u8]; 2]) -> io::Result<()> {
        self.shared.flush(frame)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, [head, payload]: [&[u8]; 2]) -> io::Result<()> {
        let mut replies = self.lock();
        let frames = replies.frames();
        // The lock is held: order on the socket is the order of the replies.
        let mut parts = [IoSlice::new(frames), IoSlice::new(head), IoSlice::new(payload)];
        socket::send_parts(self.host.as_fd(), &mut parts)?;
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
        // Who has the lock now writes, or will be asked again.
        let waiting = shared.replies.try_lock().is_ok_and(|mut replies| replies.gathered() > 0);
        empty = if waiting { 0 } else { empty + 1 };
        if waiting && shared.flush([&[], &[]]).is_err() {
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
