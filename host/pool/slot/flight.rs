//! The items in one worker, in the order in which it will run them. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::pool::job::Job;
use crate::pool::load::{Load, Run, Task};

/// What is in the worker under a ticket. It is gone once the host has taken it
/// back; the entry stays until the worker hands the ticket back. The answered
/// items of a run have left it: the ticket is the next one's.
#[derive(Debug)]
struct Entry {
    ticket: u64,
    load: Option<Load>,
}

/// Items sent to a worker and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entries: VecDeque<Entry>,
    items: usize,
    bytes: usize,
    last: u64,
    /// The last ticket that the worker may hand back.
    asked: u64,
    /// Entries that are runs.
    runs: usize,
}

/// Items of a run that the worker has answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) job: Arc<Job>,
    /// The first one's place among the job's outcomes.
    pub(super) position: u64,
    /// Its index in the input.
    pub(super) index: u64,
}

impl Answered {
    /// Whether `next` follows on so many items of this.
    pub(super) fn goes_on(&self, count: usize, next: &Self) -> bool {
        let count = count as u64;
        Arc::ptr_eq(&self.job, &next.job) && self.position + count == next.position && self.index + count == next.index
    }
}

impl Flight {
    /// The items of a worker that had something to do before them, under
    /// tickets up to `last`.
    pub(super) fn after(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Items in the worker.
    pub(super) fn len(&self) -> usize {
        self.items
    }

    /// Item bytes in the worker.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last ticket that was given out.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// What is still in the host's count, first to run first.
    pub(super) fn loads(&self) -> impl Iterator<Item = &Load> {
        self.entries.iter().filter_map(|entry| entry.load.as_ref())
    }

    /// Adds a task; its ticket. Tickets start at 1 and are never reused.
    pub(super) fn push(&mut self, task: Task) -> u64 {
        self.add(Load::One(task), 1)
    }

    /// Adds a run; its first item's ticket.
    pub(super) fn push_run(&mut self, run: Run) -> u64 {
        let items = run.len();
        self.runs += 1;
        self.add(Load::Many(run), items)
    }

    fn add(&mut self, load: Load, items: usize) -> u64 {
        let ticket = self.last + 1;
        self.last += items as u64;
        self.items += items;
        self.bytes += load.bytes();
        self.entries.push_back(Entry { ticket, load: Some(load) });
        ticket
    }

    /// Ticket and index of the item that the worker answers next, unless the
    /// host has taken it back.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        let entry = self.entries.front()?;
        match entry.load.as_ref()? {
            Load::One(task) => Some((entry.ticket, task.index)),
            Load::Many(run) => Some((entry.ticket, run.index())),
        }
    }

    /// The job of the item with this ticket, if the worker may still run it.
    pub(super) fn job(&self, ticket: u64) -> Option<&Arc<Job>> {
        let after = self.entries.partition_point(|entry| entry.ticket <= ticket);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        match entry.load.as_ref()? {
            Load::One(task) => (entry.ticket == ticket).then_some(&task.job),
            Load::Many(run) => (ticket - entry.ticket < run.len() as u64).then_some(&run.job),
        }
    }

    /// How many items of the run that the worker works on are unanswered, if
    /// `ticket` is the first of them.
    pub(super) fn run_length(&self, ticket: u64) -> Option<usize> {
        match self.entries.front() {
            Some(Entry { ticket: first, load: Some(Load::Many(run)) }) if *first == ticket => Some(run.len()),
            _ => None,
        }
    }

    /// The worker answered the next `count` items of the run that it works on,
    /// from `ticket` on. `None` when there is no such run.
    pub(super) fn finish_run(&mut self, ticket: u64, count: usize) -> Option<Answered> {
        let entry = self.entries.front_mut().filter(|entry| entry.ticket == ticket)?;
        let Some(Load::Many(run)) = &mut entry.load else { return None };
        if count > run.len() {
            return None;
        }
        let answered = Answered { job: Arc::clone(&run.job), position: run.positions().start, index: run.index() };
        self.bytes -= run.advance(count);
        self.items -= count;
        entry.ticket += count as u64;
        if run.len() == 0 {
            self.entries.pop_front();
            self.runs -= 1;
        }
        Some(answered)
    }

    /// The worker answered `ticket` with a report. `None` when that is a lie:
    /// not the first in the worker, which answers in order, or one that was
    /// taken back.
    pub(super) fn finish(&mut self, ticket: u64) -> Option<Task> {
        if let Some(task) = self.finish_first(ticket) {
            return Some(task);
        }
        self.part();
        self.entries.front().filter(|entry| entry.ticket == ticket)?.load.as_ref()?;
        self.remove_first()
    }

    /// The next item of the run that the worker works on, as a task.
    fn finish_first(&mut self, ticket: u64) -> Option<Task> {
        let entry = self.entries.front_mut().filter(|entry| entry.ticket == ticket)?;
        let Some(Load::Many(run)) = &mut entry.load else { return None };
        let first = run.split_front(1);
        // As they stand in the run, which may be other than the task's.
        let bytes = first.bytes();
        let task = first.into_tasks().next();
        entry.ticket += 1;
        if run.len() == 0 {
            self.entries.pop_front();
            self.runs -= 1;
        }
        self.items -= 1;
        self.bytes -= bytes;
        task
    }

    /// The worker handed `ticket` back unstarted. The outer `None` is a lie;
    /// the inner one means that the host had taken it already.
    #[expect(clippy::option_option, reason = "a lie and a task taken earlier are different answers")]
    pub(super) fn returned(&mut self, ticket: u64) -> Option<Option<Task>> {
        if ticket > self.asked {
            return None;
        }
        self.part();
        self.entries.front().filter(|entry| entry.ticket == ticket)?;
        Some(self.remove_first())
    }

    fn remove_first(&mut self) -> Option<Task> {
        let Some(Load::One(task)) = self.entries.pop_front()?.load else { return None };
        self.items -= 1;
        self.bytes -= task.body.bytes.len();
        Some(task)
    }

    /// Takes back every task after the last one that was begun; the worker has
    /// been asked for all of them.
    pub(super) fn take_back(&mut self, begun: u64) -> Vec<Task> {
        self.asked = self.last;
        self.part();
        let mut taken = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.ticket > begun) {
            if let Some(Load::One(task)) = entry.load.take() {
                taken.push(task);
            }
        }
        self.items -= taken.len();
        self.bytes -= taken.iter().map(|task| task.body.bytes.len()).sum::<usize>();
        taken
    }

    /// Empties the table: tickets with their tasks, in order.
    pub(super) fn clear(&mut self) -> Vec<(u64, Task)> {
        self.part();
        (self.items, self.bytes) = (0, 0);
        let tasks = self.entries.drain(..).filter_map(|entry| match entry.load {
            Some(Load::One(task)) => Some((entry.ticket, task)),
            _ => None,
        });
        tasks.collect()
    }

    /// Makes every run into tasks: what is not the common course of things
    /// looks at items one by one.
    fn part(&mut self) {
        if self.runs == 0 {
            return;
        }
        self.runs = 0;
        for entry in std::mem::take(&mut self.entries) {
            match entry.load {
                Some(Load::Many(run)) => {
                    let tasks = (entry.ticket..).zip(run.into_tasks());
                    self.entries.extend(tasks.map(|(ticket, task)| Entry { ticket, load: Some(Load::One(task)) }));
                }
                load => self.entries.push_back(Entry { load, ..entry }),
            }
        }
        self.bytes = self.loads().map(Load::bytes).sum();
    }
}
