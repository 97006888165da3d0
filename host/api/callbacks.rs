//! The thread that runs callbacks: one for each pool, from the first callback
//! on. Whatever a callback does, results go on being collected.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Results that may wait for their callbacks; a registration beyond waits.
const WAITING: usize = 4096;

/// Bytes of results that may wait for their callbacks, as above.
const BYTES: usize = 64 << 20;

/// What a callback does with its result.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// Callbacks of one pool, in the order in which their results came.
#[derive(Default)]
pub(super) struct Callbacks {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Bounded by [`WAITING`], [`BYTES`] and the calls that are under way.
    due: VecDeque<(Callback, usize)>,
    /// Bytes of the results in `due`.
    bytes: usize,
    /// Registered and not run.
    registered: usize,
    panicked: u64,
    thread: Option<ThreadId>,
    /// No more will be registered through the pool.
    closed: bool,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").field("registered", &self.queue().registered).finish_non_exhaustive()
    }
}

impl Callbacks {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A callback will come. Waits while too many results wait for theirs,
    /// unless this is a callback itself.
    pub(super) fn register(self: &Arc<Self>) {
        let mut queue = self.queue();
        let own = Some(std::thread::current().id());
        while (queue.due.len() >= WAITING || queue.bytes > BYTES) && queue.thread != own {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.registered += 1;
        if queue.thread.is_none() {
            let callbacks = Arc::clone(self);
            let thread = std::thread::Builder::new().name("wpool-callbacks".to_owned());
            // Without a thread the next registration tries again.
            let thread = thread.spawn(move || callbacks.run()).ok();
            queue.thread = thread.map(|thread| thread.thread().id());
        }
    }

    /// The result of a registered callback is there, of so many bytes. Never
    /// waits.
    pub(super) fn push(&self, callback: Callback, bytes: usize) {
        let mut queue = self.queue();
        queue.due.push_back((callback, bytes));
        queue.bytes += bytes;
        drop(queue);
        self.changed.notify_all();
    }

    /// No more callbacks through the pool: the thread ends with the last one.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    /// Waits until every registered callback has run; a callback itself does
    /// not wait.
    pub(super) fn wait(&self) {
        let mut queue = self.queue();
        while queue.registered > 0 && queue.thread != Some(std::thread::current().id()) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Callbacks that panicked.
    pub(super) fn panicked(&self) -> u64 {
        self.queue().panicked
    }

    fn run(&self) {
        let mut queue = self.queue();
        loop {
            if let Some((callback, bytes)) = queue.due.pop_front() {
                queue.bytes -= bytes;
                drop(queue);
                self.changed.notify_all();
                let panicked = catch_unwind(AssertUnwindSafe(callback)).is_err();
                queue = self.queue();
                queue.registered -= 1;
                queue.panicked += u64::from(panicked);
                self.changed.notify_all();
            } else if queue.closed && queue.registered == 0 {
                queue.thread = None;
                return;
            } else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
