//! A slot: one thread that owns one worker process. It takes chunks from the
//! shared queue, keeps the worker's window full, forwards outcomes and
//! supervises: deadlines, deaths, recycling.

mod calls;
mod death;
mod flight;
mod replies;
mod seat;
mod thread;
mod watch;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(crate) use thread::{Ears, run, take};

use crate::error::Error;
use crate::pool::Shared;
use crate::pool::job::Job;
use crate::pool::load::{Chunk, Load, Run, Task};
use crate::pool::slot::replies::Batch;
use crate::pool::slot::seat::{NoWorker, Seat};
use crate::pool::slot::watch::now_ns;
use crate::wire::frame::{FrameKind, Head};
use crate::wire::report::{TaskParts, put_task};
use crate::wire::run::{item_flags, number_flags, put_items};

/// A running item older than this no longer keeps others waiting behind it.
const BLOCKING: Duration = Duration::from_millis(5);

/// How long a reader may be left waiting while more outcomes are to come.
const TELL: Duration = Duration::from_millis(2);

/// How often a slot looks around when nothing else wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// How often processor time is looked at under `--cpu-timeout`.
const CPU_LOOK: Duration = Duration::from_millis(5);

/// How long a slot that cannot have a worker leaves the work to others.
const REST: Duration = Duration::from_millis(500);

/// Slack of the watch for a worker that shows no progress at all.
const SILENCE: Duration = Duration::from_millis(200);

/// A slot's state, held by whoever works with it: its thread, or the caller of
/// a lone item.
#[derive(Debug)]
pub(crate) struct Slot {
    id: u32,
    shared: Arc<Shared>,
    ears: Ears,
    seat: Option<Seat>,
    /// Nothing more is to be taken from the queue.
    lone: bool,
    /// Taken from the queue, not in the worker yet.
    backlog: VecDeque<Load>,
    /// Waiting for their back-off.
    delayed: Vec<(Instant, Task)>,
    /// A job whose reader was not told of its last outcomes yet, and since
    /// when.
    untold: Option<(Arc<Job>, u64)>,
    /// Empty between two reads; kept for the room that it has.
    batch: Batch,
}

impl Slot {
    pub(crate) fn new(id: u32, shared: Arc<Shared>, ears: Ears) -> Self {
        let (backlog, delayed) = (VecDeque::new(), Vec::new());
        Self { id, shared, ears, seat: None, lone: false, backlog, delayed, untold: None, batch: Batch::default() }
    }

    /// Whether it has a worker and nothing to do.
    pub(crate) fn is_free(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.flight.is_empty())
            && self.backlog.is_empty()
            && self.delayed.is_empty()
    }

    /// Runs one item to its end, on the caller's thread: waking the slot's
    /// own, and being woken by it, would take longer than most tasks.
    pub(crate) fn carry(&mut self, task: Task) {
        self.shared.idle.fetch_sub(1, Ordering::AcqRel);
        self.lone = true;
        self.backlog.push_back(Load::One(task));
        while !(self.shared.is_terminated() || self.backlog.is_empty() && self.delayed.is_empty()) {
            self.work();
            if let Some(due) = self.due().filter(|_| self.backlog.is_empty()) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()).min(LOOK));
            }
            self.undelay();
        }
        self.lone = false;
        self.shared.idle.fetch_add(1, Ordering::AcqRel);
    }

    /// When the first delayed task is due.
    fn due(&self) -> Option<Instant> {
        self.delayed.iter().map(|(due, _)| *due).min()
    }

    fn undelay(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = Instant::now();
        for (_, task) in self.delayed.extract_if(.., |(due, _)| *due <= now) {
            self.backlog.push_front(Load::One(task));
        }
    }

    /// Works until nothing is left here or in the worker.
    fn work(&mut self) {
        while !self.shared.is_terminated() {
            self.undelay();
            self.drop_stopped();
            self.retire_worn();
            if self.seat.is_none() && self.backlog.is_empty() {
                return;
            }
            if !self.seat() {
                continue;
            }
            self.fill();
            if self.seat.as_ref().is_none_or(|seat| seat.flight.is_empty()) {
                if self.backlog.is_empty() {
                    return;
                }
                self.hold_back();
                continue;
            }
            self.exchange();
            self.supervise();
        }
    }

    /// Tasks of stopped jobs are not started.
    fn drop_stopped(&mut self) {
        while self.backlog.front().is_some_and(|load| load.job().is_stopped()) {
            self.backlog.pop_front().into_iter().for_each(Load::cancel);
        }
    }

    /// Makes sure of a worker; false when there is none now.
    fn seat(&mut self) -> bool {
        if self.seat.is_some() {
            return true;
        }
        match Seat::start(&self.shared, self.id, &self.ears.waker) {
            Ok(seat) => {
                self.shared.counts.started.fetch_add(1, Ordering::Relaxed);
                self.set_pid(seat.process.pid());
                self.seat = Some(seat);
                self.shared.storm.started(true);
                self.shared.ready();
                true
            }
            Err(NoWorker::Unwanted) => false,
            Err(NoWorker::Refused(error)) => {
                self.shared.break_down(error);
                false
            }
            Err(NoWorker::Scarce(words)) if self.shared.others_work(self.id) => {
                self.shared.scarce.get_or_init(|| words);
                self.rest();
                false
            }
            Err(NoWorker::Died(words) | NoWorker::Scarce(words)) => {
                self.shared.counts.died.fetch_add(1, Ordering::Relaxed);
                let slow = self.shared.storm.started(false).then(|| words.clone());
                let pause = self.shared.storm.died(words, &self.shared);
                if let Some(words) = slow {
                    // Where they died fast, the storm has said so.
                    self.shared.break_down(Error::Workers(format!("no worker starts any more; the last one: {words}")));
                }
                // Another start at once would only add to a storm.
                let _closed = self.ears.closing.recv_timeout(pause);
                false
            }
        }
    }

    /// Leaves the work to slots that have a worker, for a while.
    fn rest(&mut self) {
        let waiting: Chunk = self.backlog.drain(..).collect();
        let mut pause = REST;
        if !waiting.is_empty()
            && let Err(unsent) = self.shared.urgent.try_send(waiting)
        {
            self.backlog.extend(unsent.into_inner());
            pause = BLOCKING;
        }
        let _closed = self.ears.closing.recv_timeout(pause);
    }

    /// Tells who fills this slot; 0 for nobody.
    fn set_pid(&self, pid: i32) {
        if let Some(place) = self.shared.pids.get(self.id as usize) {
            place.store(pid, Ordering::Release);
        }
    }

    /// Ends a worker that has done its share.
    fn retire_worn(&mut self) {
        let worn = |seat: &mut Seat| {
            self.shared.options.max_tasks_per_child.is_some_and(|most| seat.given >= most.get())
                && seat.flight.is_empty()
        };
        if let Some(seat) = self.seat.take_if(worn) {
            self.retire(seat);
        }
    }

    /// Ends a worker that another one follows.
    fn retire(&mut self, seat: Seat) {
        self.set_pid(0);
        let reported = seat.cpu;
        let (ended, _words) = seat.end();
        self.shared.counts.recycled.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.add_cpu(ended.cpu.saturating_sub(reported));
    }

    /// Gives the worker what its window admits.
    fn fill(&mut self) {
        let most = self.shared.options.max_tasks_per_child.map_or(u64::MAX, std::num::NonZero::get);
        while let Some(seat) = self.seat.as_mut().filter(|seat| seat.given < most) {
            if self.backlog.is_empty() {
                if self.lone || seat.flight.len() >= seat.credit.window() || near_end(&self.shared, seat.flight.len()) {
                    break;
                }
                let Some(chunk) = take(&self.ears.urgent, &self.ears.queue) else { break };
                self.backlog.extend(chunk);
            }
            let Some(load) = self.backlog.front_mut() else { break };
            if load.job().is_stopped() {
                self.backlog.pop_front().into_iter().for_each(Load::cancel);
                continue;
            }
            if !self.shared.objects.is_empty() && is_held_back(load) {
                break;
            }
            let alone = load.deaths() > 0 || seat.flight.loads().any(|load| load.deaths() > 0);
            let room = if alone && !seat.flight.is_empty() { 0 } else { seat.room(load, most) };
            if room == 0 {
                break;
            }
            if let Load::Many(run) = load
                && room < run.len()
            {
                let front = run.split_front(room);
                give_run(seat, front);
                continue;
            }
            match self.backlog.pop_front() {
                Some(Load::One(task)) => give(seat, task),
                Some(Load::Many(run)) => give_run(seat, run),
                None => break,
            }
        }
    }

    /// Rests where nothing is to be started, since its results would be too
    /// many; looks at what others gave back, which may be what is wanted.
    fn hold_back(&mut self) {
        if self.shared.objects.is_empty() || !self.backlog.front().is_some_and(is_held_back) {
            return;
        }
        self.tell();
        match self.ears.urgent.try_recv() {
            Ok(chunk) => chunk.into_iter().rev().for_each(|load| self.backlog.push_front(load)),
            Err(_none) => drop(self.ears.closing.recv_timeout(BLOCKING)),
        }
    }

    /// Tells a reader what it was not told.
    fn tell(&mut self) {
        if let Some((job, _since)) = self.untold.take() {
            job.nudge();
        }
    }

    /// One round of writing, waiting and reading.
    fn exchange(&mut self) {
        let Some(seat) = self.seat.as_mut() else { return };
        if seat.link.write(seat.process.socket()).is_err() {
            self.bury(None);
            return;
        }
        // The next item's worker is always read, even where the item itself
        // still waits for a place in it.
        let next = |load: &Load| load.holds(load.job().budget.next.load(Ordering::Acquire));
        let delayed = |task: &Task| task.job.budget.next.load(Ordering::Acquire) == task.position;
        // Nor is a worker left alone that may hold what the next item's waits
        // for: it gets nothing new instead.
        let blocked = self.shared.objects.is_empty()
            && seat.flight.loads().any(|load| load.job().is_full())
            && !seat.flight.loads().chain(&self.backlog).any(next)
            && !self.delayed.iter().any(|(_, task)| delayed(task));
        if blocked {
            seat.watch.hold(now_ns());
        }
        let timeout = if blocked || !self.backlog.is_empty() { BLOCKING } else { LOOK };
        let timeout = timeout.min(patience(seat, &self.shared));
        let timeout = self
            .delayed
            .iter()
            .map(|(due, _)| due.saturating_duration_since(Instant::now()))
            .fold(timeout, Duration::min);
        let timeout = if self.untold.is_some() { timeout.min(TELL) } else { timeout };
        let Ok(seen) = seat.link.poll(seat.process.socket(), self.ears.waker.as_fd(), !blocked, timeout) else {
            self.bury(None);
            return;
        };
        self.answer();
        if seen.readable && !blocked {
            self.read();
        } else {
            self.tell();
        }
    }
}

/// Whether so many results wait for the reader that this is not to be started.
fn is_held_back(load: &Load) -> bool {
    let job = load.job();
    job.is_full() && !load.holds(job.budget.next.load(Ordering::Acquire))
}

/// Near the end of the input a worker that holds its share takes no more, so
/// that no other idles.
fn near_end(shared: &Shared, held: usize) -> bool {
    held > 0 && shared.feeding.load(Ordering::Acquire) == 0 && shared.queued() < held * shared.options.processes.get()
}

fn give_run(seat: &mut Seat, run: Run) {
    let (start, ends, bytes) = run.parts();
    let mut head = Head {
        kind: FrameKind::Task,
        flags: if run.numbers { number_flags() } else { item_flags(run.form) },
        function: run.job.function,
        length: 0,
        ticket: seat.flight.last() + 1,
        index: run.index(),
        attempt: 1,
    };
    if run.apart {
        for item in run.items() {
            head.length = item.len() as u32;
            head.put(seat.link.gather());
            seat.link.gather().extend_from_slice(item);
            head.ticket += 1;
            head.index += 1;
        }
    } else {
        put_items(seat.link.gather(), head, start, ends, bytes);
    }
    if seat.flight.is_empty() {
        seat.watch.touch(now_ns());
    }
    seat.given += run.len() as u64;
    seat.flight.push_run(run);
}

fn give(seat: &mut Seat, task: Task) {
    let head = Head {
        kind: FrameKind::Task,
        flags: 0,
        function: task.job.function,
        length: 0,
        ticket: seat.flight.last() + 1,
        index: task.index,
        attempt: u16::try_from(task.attempts + 1).unwrap_or(u16::MAX),
    };
    let parts = TaskParts {
        form: task.body.form,
        path: task.body.path.as_deref(),
        tighter: task.job.tighter,
        item: &task.body.bytes,
    };
    put_task(seat.link.gather(), head, &parts);
    seat.link.payload(&task.body.bytes);
    if let Some(connection) = task.body.connection.clone() {
        seat.link.attach(connection);
    }
    if seat.flight.is_empty() {
        seat.watch.touch(now_ns());
    }
    seat.flight.push(task);
    seat.given += 1;
}

/// How long the slot may wait before it must look at the worker.
fn patience(seat: &Seat, shared: &Shared) -> Duration {
    let mut wait = LOOK;
    let now = now_ns();
    if let Some(timeout) = death::killed_after(seat, shared) {
        let elapsed = Duration::from_nanos(seat.watch.running_ns(now));
        let left = timeout.saturating_sub(elapsed);
        // Until the page shows the item, its clock has hardly begun.
        wait = wait.min(if seat.watch.ticket() == 0 { timeout.min(BLOCKING) } else { left });
    }
    if seat.flight.len() > 1 {
        wait = wait.min(BLOCKING);
    }
    if shared.spec.limits.cpu_timeout.is_some() {
        wait = wait.min(CPU_LOOK);
    }
    if let Some(left) = seat.session.patience_ns(now) {
        wait = wait.min(Duration::from_nanos(left));
    }
    // A poll rounds down to nothing; 200 µs late is early enough.
    wait.max(Duration::from_micros(200))
}
