//! Replies on their way to the host: gathered by the task loop, written when
//! there is nothing else to do, when there are many, or 1 ms later by the
//! flusher, so that a finished result never waits behind a task that hangs.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use crate::wire::socket;

/// How long a finished result may wait.
const FLUSH: Duration = Duration::from_millis(1);

/// Empty rounds after which the flusher sleeps until it is called.
const PATIENCE: u32 = 20;

/// Replies that are gathered before they are written.
pub(super) struct Outbox {
    shared: Arc<Shared>,
    flusher: std::thread::Thread,
}

struct Shared {
    replies: Mutex<Vec<u8>>,
    /// The flusher is asleep and must be called.
    asleep: AtomicBool,
    host: std::os::fd::OwnedFd,
}

impl Outbox {
    /// Starts the flusher and waits until it has reported in.
    pub(super) fn start(host: BorrowedFd<'_>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            replies: Mutex::default(),
            asleep: AtomicBool::new(true),
            host: host.try_clone_to_owned()?,
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

    /// The replies gathered so far, to append to.
    pub(super) fn replies(&self) -> MutexGuard<'_, Vec<u8>> {
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
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> io::Result<()> {
        use std::os::fd::AsFd;
        let mut replies = self.lock();
        if replies.is_empty() {
            return Ok(());
        }
        // The lock is held: order on the socket is the order of the replies.
        socket::send_all(self.host.as_fd(), &replies, &[])?;
        replies.clear();
        if replies.capacity() > 1 << 20 {
            replies.shrink_to(64 << 10);
        }
        Ok(())
    }
}

fn flusher(shared: &Shared) {
    let mut empty = 0;
    loop {
        std::thread::sleep(FLUSH);
        let waiting = !shared.lock().is_empty();
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
