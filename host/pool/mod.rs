//! The pool: slots, their worker processes, and the collector. Threads and
//! channels; knows no wasmtime.
//!
//! Data goes one way: a feeder pulls items and sends chunks into one bounded
//! queue; each slot moves them through its worker process; outcomes go to the
//! job's reorder buffer, from which the reader takes them.

pub mod cache;
pub mod compile;
pub mod initialise;
pub mod item;
pub mod listen;
pub mod module;
pub mod objects;
pub mod probe;
pub mod process;
pub mod resolve;
pub mod resources;
pub mod scratch;
pub mod suspend;
pub mod target;

mod budget;
mod call;
mod credit;
pub(crate) mod delivery;
mod feed;
mod iter;
pub(crate) mod job;
mod link;
mod load;
mod lone;
mod map;
mod options;
mod refused;
mod reorder;
mod slot;
mod stats;
pub(crate) mod typed;

use std::fs::File;
use std::num::{NonZeroU64, NonZeroUsize};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use rustix::event::EventfdFlags;

pub(crate) use feed::is_at_hand;
pub use iter::{JobHandle, Outcomes, TimedOut};
pub use job::Observer;
pub(crate) use lone::Room;
pub(crate) use map::FORESEEN;
pub use map::MapError;
pub use options::{Chunksize, Listener, MapOptions, PoolOptions, Rest, Work};
pub use stats::Stats;

use crate::describe::Description;
use crate::error::{Error, Told, is_scarcity};
use crate::limits::Isolation;
use crate::outcome::{Failure, Kind};
use crate::pool::budget::Budget;
use crate::pool::item::Supply;
use crate::pool::job::{Job, Terms};
use crate::pool::load::{Chunk, Load, Task};
use crate::pool::lone::Full;
use crate::pool::objects::Object;
use crate::pool::slot::{Ears, Slot};
use crate::pool::stats::{Counts, Storm};
use crate::wire::message::{MissingLayer, TaskSpec};
use crate::wire::shelf::Shelf;

/// Undelivered items of an ordered job, unless the caller says otherwise:
/// many, so that one long item does not hold up those after it.
const WINDOW: usize = 1 << 16;

/// Stack of the pool's threads, whatever the environment says.
const STACK: usize = 1 << 20;

/// How long a full queue is waited for before the pool's end is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes of blocks of results that are kept for the next ones.
const SHELF: usize = 8 << 20;

/// What slots, feeders and readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) artifact: File,
    pub(crate) description: Description,
    pub(crate) spec: TaskSpec,
    pub(crate) options: PoolOptions,
    pub(crate) max_item: u64,
    pub(crate) side_effects: bool,
    /// What tasks share, in the order of the grants.
    pub(crate) objects: Arc<Vec<Arc<Object>>>,
    pub(crate) counts: Counts,
    /// Layers of the lock-down that the first worker could not have.
    pub(crate) missing: OnceLock<Vec<MissingLayer>>,
    pub(crate) storm: Storm,
    /// Why there are fewer workers than slots, where that was so.
    pub(crate) scarce: OnceLock<String>,
    /// Slots that wait for work.
    pub(crate) idle: AtomicUsize,
    /// Slots that have waited so long that a feeder must be slow: they get
    /// what there is at once.
    pub(crate) starving: AtomicUsize,
    /// Feeders that may still send, and their jobs.
    pub(crate) feeding: AtomicUsize,
    feeders: Mutex<Vec<Arc<Job>>>,
    /// Mean time of a task, 0 when unknown.
    pub(crate) task_ns: AtomicU64,
    /// Where slots give tasks back to each other. Bounded by the slots'
    /// windows: one message holds all that a slot gives back.
    pub(crate) urgent: Sender<Chunk>,
    urgent_out: Receiver<Chunk>,
    queue: Sender<Chunk>,
    queue_out: Receiver<Chunk>,
    wakers: Vec<Arc<OwnedFd>>,
    /// Each slot's worker, 0 for none.
    pub(crate) pids: Vec<AtomicI32>,
    /// Blocks that large results were in.
    pub(crate) shelf: Arc<Shelf>,
    terminated: AtomicBool,
    closing: Mutex<Option<Sender<()>>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    broken: Option<Arc<Error>>,
}

/// A pool of worker processes that run one module. Dropping it ends it at
/// once; items under way end as `cancelled`.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    slots: Vec<Arc<Mutex<Slot>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts a pool. Workers start as work comes; the first starts now.
    ///
    /// # Errors
    /// When the process is out of threads or descriptors.
    pub fn start(work: Work, mut options: PoolOptions) -> Result<Self, Error> {
        if work.spec.isolation == Isolation::Process {
            options.max_tasks_per_child = Some(NonZeroU64::MIN);
        }
        let objects = objects::of_grants(&work.spec.capabilities.shared, &options.objects)?;
        let processes = options.processes.get();
        let (queue, queue_out) = bounded(queue_capacity(options.processes));
        let (urgent, urgent_out) = bounded(processes * 4);
        let (closing, closed) = bounded(0);
        let mut wakers = Vec::new();
        let mut ears = Vec::new();
        let scarce = OnceLock::new();
        for slot in 0..processes {
            let waker = match rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
                Ok(waker) => Arc::new(waker),
                Err(errno) if slot > 0 && is_scarcity(&errno.into()) => {
                    scarce.get_or_init(|| format!("cannot make a waker: {}", Told(&errno.into())));
                    break;
                }
                Err(errno) => return Err(Error::io("cannot make a waker")(errno.into())),
            };
            wakers.push(Arc::clone(&waker));
            ears.push(Ears { queue: queue_out.clone(), urgent: urgent_out.clone(), closing: closed.clone(), waker });
        }
        let shared = Arc::new(Shared {
            max_item: work.spec.limits.max_item,
            side_effects: work.spec.capabilities.side_effects(),
            objects: Arc::new(objects),
            artifact: work.artifact,
            description: work.description,
            spec: work.spec,
            counts: Counts::default(),
            missing: OnceLock::new(),
            storm: Storm::new(processes),
            scarce,
            idle: AtomicUsize::new(0),
            starving: AtomicUsize::new(0),
            feeding: AtomicUsize::new(0),
            feeders: Mutex::default(),
            task_ns: AtomicU64::new(0),
            urgent,
            urgent_out,
            queue,
            queue_out,
            wakers,
            pids: (0..processes).map(|_slot| AtomicI32::new(0)).collect(),
            shelf: Shelf::new(SHELF),
            terminated: AtomicBool::new(false),
            closing: Mutex::new(Some(closing)),
            state: Mutex::default(),
            changed: Condvar::new(),
            options,
        });
        let mut pool = Self { shared, slots: Vec::new(), threads: Mutex::default() };
        for (id, ears) in ears.into_iter().enumerate() {
            let slot = Arc::new(Mutex::new(Slot::new(id as u32, Arc::clone(&pool.shared), ears)));
            let held = Arc::clone(&slot);
            let thread = std::thread::Builder::new()
                .name(format!("wpool-slot-{id}"))
                .stack_size(STACK)
                .spawn(move || slot::run(&slot));
            match thread {
                Ok(thread) => {
                    pool.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
                    pool.slots.push(held);
                }
                Err(error) if id > 0 && is_scarcity(&error) => {
                    pool.shared.scarce.get_or_init(|| format!("cannot start a slot's thread: {}", Told(&error)));
                    break;
                }
                Err(error) => return Err(Error::io("cannot start a slot's thread")(error)),
            }
        }
        Ok(pool)
    }

    /// Waits until the first worker takes tasks.
    ///
    /// # Errors
    /// Why no worker ever will: the module was refused, or workers die.
    pub fn wait_ready(&self) -> Result<(), Arc<Error>> {
        let mut state = self.shared.state();
        loop {
            if let Some(error) = &state.broken {
                return Err(Arc::clone(error));
            }
            if state.ready {
                return Ok(());
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs `items` through the pool. They are pulled lazily, by a thread of
    /// the pool's own, as far as the window allows; a single item is pulled
    /// by the caller.
    ///
    /// # Errors
    /// When that thread cannot be started.
    pub fn outcomes<I>(&self, items: I, options: MapOptions) -> Result<Outcomes, Error>
    where
        I: IntoIterator,
        I::Item: Supply,
        I::IntoIter: Send + 'static,
    {
        self.observed_outcomes(items, options, None)
    }

    /// The same; `observer` is told each outcome as soon as it is known.
    ///
    /// # Errors
    /// As [`Pool::outcomes`].
    pub fn observed_outcomes<I>(
        &self,
        items: I,
        options: MapOptions,
        observer: Option<Observer>,
    ) -> Result<Outcomes, Error>
    where
        I: IntoIterator,
        I::Item: Supply,
        I::IntoIter: Send + 'static,
    {
        let terms = Terms { function: options.function, rest: options.rest, observer, ..Terms::default() };
        self.outcomes_on(items, options, terms)
    }

    /// As [`Pool::outcomes`], on these terms.
    pub(crate) fn outcomes_on<I>(&self, items: I, options: MapOptions, terms: Terms) -> Result<Outcomes, Error>
    where
        I: IntoIterator,
        I::Item: Supply,
        I::IntoIter: Send + 'static,
    {
        let window = options.window.map_or(WINDOW, NonZeroUsize::get);
        let chunks = queue_capacity(self.shared.options.processes);
        let job = Arc::new(Job::new(Budget::new(window, chunks), options.ordered, terms));
        let shared = Arc::clone(&self.shared);
        shared.feeding.fetch_add(1, Ordering::AcqRel);
        let (fed, items) = (Arc::clone(&job), items.into_iter());
        if items.size_hint().1.is_some_and(|most| most <= 1) {
            // A thread would take longer than the one item.
            feed::feed(&shared, &fed, items, options.chunksize);
            return Ok(Outcomes::new(job, shared));
        }
        std::thread::Builder::new()
            .name("wpool-feed".to_owned())
            .stack_size(STACK)
            .spawn(move || feed::feed(&shared, &fed, items, options.chunksize))
            .map_err(Error::io("cannot start the feeder's thread"))?;
        Ok(Outcomes::new(job, Arc::clone(&self.shared)))
    }

    /// Layers of the lock-down that this system did not give the workers;
    /// none before one is ready.
    #[must_use]
    pub fn missing_layers(&self) -> &[MissingLayer] {
        self.shared.missing.get().map_or(&[], Vec::as_slice)
    }

    /// Why the pool has worked with fewer workers than it was to have.
    #[must_use]
    pub fn scarcity(&self) -> Option<&str> {
        self.shared.scarce.get().map(String::as_str)
    }

    /// Process ids of the workers that are alive now.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<i32> {
        self.shared.pids.iter().map(|pid| pid.load(Ordering::Acquire)).filter(|pid| *pid != 0).collect()
    }

    /// What slots, feeders and readers share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What the workers did so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counts.snapshot()
    }

    /// Ends the pool at once: workers are killed, items under way are
    /// cancelled. Returns when no worker is left.
    #[must_use]
    pub fn terminate(self) -> Stats {
        self.end();
        self.stats()
    }

    /// Ends the pool at once. Returns when no worker is left.
    pub(crate) fn end(&self) {
        self.shared.terminate();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let own = std::thread::current().id();
        // A reader's waker may drop the pool, and then this is a slot's thread.
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
            // A slot's panic has been printed; its worker died with it.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end();
    }
}

/// Chunks in the queue: enough for every slot's window twice, so that slots
/// never find it empty because the feeder was not scheduled.
fn queue_capacity(processes: NonZeroUsize) -> usize {
    (processes.get() * 128).max(256)
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker takes tasks.
    pub(crate) fn ready(&self) {
        let mut state = self.state();
        if !state.ready {
            state.ready = true;
            self.changed.notify_all();
        }
    }

    /// The pool cannot work: everything ends as `cancelled`.
    pub(crate) fn break_down(&self, error: Error) {
        let mut state = self.state();
        state.broken.get_or_insert_with(|| Arc::new(error));
        drop(state);
        self.terminate();
    }

    /// Why the pool cannot work, if it cannot.
    pub(crate) fn broken(&self) -> Option<Arc<Error>> {
        self.state().broken.clone()
    }

    fn terminate(&self) {
        self.terminated.store(true, Ordering::Release);
        drop(self.closing.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.changed.notify_all();
        // Their input may never end.
        let feeding: Vec<Arc<Job>> = self.feeders().clone();
        feeding.iter().for_each(Job::end_with_pool);
        self.wake();
        self.drain();
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Acquire)
    }

    /// Makes every slot look at its jobs.
    pub(crate) fn wake(&self) {
        for waker in &self.wakers {
            // A full counter is readable already, which is all that is wanted.
            let _full = rustix::io::write(waker, &1_u64.to_ne_bytes());
        }
    }

    /// The jobs whose feeders may still send.
    pub(crate) fn feeders(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Job>>> {
        self.feeders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a feeder holds while it waits for more input.
    pub(crate) fn gathered(&self) -> Option<Chunk> {
        let jobs = self.feeders();
        jobs.iter().map(|job| job.gathering().take(job).0).find(|chunk| !chunk.is_empty())
    }

    /// Feeder: waits for room in the queue. Gives the chunk back when the
    /// pool has ended.
    pub(crate) fn queue(&self, chunk: Chunk) -> Result<(), Chunk> {
        let mut chunk = chunk;
        while !self.is_terminated() {
            match self.queue.send_timeout(chunk, LOOK) {
                Ok(()) => {
                    if self.is_terminated() {
                        self.drain();
                    }
                    return Ok(());
                }
                Err(SendTimeoutError::Timeout(back) | SendTimeoutError::Disconnected(back)) => chunk = back,
            }
        }
        Err(chunk)
    }

    /// Queues a chunk where there is room now; gives it back when the pool has
    /// ended.
    pub(crate) fn try_queue(&self, chunk: Chunk) -> Result<Option<Chunk>, Full> {
        if self.is_terminated() {
            return Ok(Some(chunk));
        }
        self.queue.try_send(chunk).map_err(|_chunk| Full)?;
        if self.is_terminated() {
            self.drain();
        }
        Ok(None)
    }

    /// Whether a slot other than this one has a worker.
    pub(crate) fn others_work(&self, slot: u32) -> bool {
        let others = self.pids.iter().enumerate().filter(|(id, _)| *id != slot as usize);
        others.map(|(_, pid)| pid.load(Ordering::Acquire)).any(|pid| pid != 0)
    }

    /// Chunks in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.queue_out.len()
    }

    /// After the end: cancels whatever is still queued.
    pub(crate) fn drain(&self) {
        while let Some(chunk) = slot::take(&self.urgent_out, &self.queue_out) {
            chunk.into_iter().for_each(Load::cancel);
        }
    }

    /// The largest frame an honest worker sends.
    pub(crate) fn frame_limit(&self) -> u32 {
        let limits = &self.spec.limits;
        let most = limits.max_result.saturating_mul(2).saturating_add(2 * limits.max_captured).saturating_add(2 << 20);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// The most items in one worker.
    pub(crate) fn credit(&self) -> Option<usize> {
        let talks = self.spec.capabilities.talks() || !self.objects.is_empty();
        let alone = self.spec.isolation == Isolation::Process || talks;
        if alone { Some(1) } else { self.options.credit.map(NonZeroUsize::get) }
    }

    /// Whether an item that failed so gets another try.
    pub(crate) fn retries(&self, kind: Kind, task: &Task) -> bool {
        // A connection that has begun cannot begin again.
        task.body.connection.is_none()
            && task.attempts <= self.options.retries
            && self.options.retry_on.contains(&kind)
            && !task.job.once
            && !task.job.is_stopped()
    }

    pub(crate) fn too_large(&self, size: usize) -> Failure {
        feed::too_large(size, self.max_item)
    }
}
