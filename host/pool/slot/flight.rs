//! The items in one worker, in the order in which it will run them. Pure.

use std::collections::VecDeque;

use crate::pool::job::Task;

/// One item in the worker. Its task is gone once the host has taken it back;
/// the entry stays until the worker hands the ticket back.
#[derive(Debug)]
struct Entry {
    ticket: u64,
    task: Option<Task>,
}

/// Items sent to a worker and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: u64,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Item bytes in the worker.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last ticket that was given out.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Tasks still in the host's count, first to run first.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.entries.iter().filter_map(|entry| entry.task.as_ref())
    }

    /// The first unanswered ticket.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.ticket)
    }

    /// Adds a task; its ticket. Tickets start at 1 and are never reused.
    pub(super) fn push(&mut self, task: Task) -> u64 {
        self.last += 1;
        self.bytes += task.body.bytes.len();
        self.entries.push_back(Entry { ticket: self.last, task: Some(task) });
        self.last
    }

    /// The task with this ticket, if the worker may still run it.
    pub(super) fn get(&self, ticket: u64) -> Option<&Task> {
        self.entries.iter().find(|entry| entry.ticket == ticket)?.task.as_ref()
    }

    /// The worker answered `ticket` with a report. `None` when that is a lie:
    /// an unknown ticket, or one that was taken back.
    pub(super) fn finish(&mut self, ticket: u64) -> Option<Task> {
        let at = self.entries.iter().position(|entry| entry.ticket == ticket)?;
        self.entries.get(at)?.task.as_ref()?;
        let task = self.entries.remove(at)?.task?;
        self.bytes -= task.body.bytes.len();
        Some(task)
    }

    /// The worker handed `ticket` back unstarted. The outer `None` is a lie;
    /// the inner one means that the host had taken it already.
    #[expect(clippy::option_option, reason = "a lie and a task taken earlier are different answers")]
    pub(super) fn returned(&mut self, ticket: u64) -> Option<Option<Task>> {
        let at = self.entries.iter().position(|entry| entry.ticket == ticket)?;
        let task = self.entries.remove(at)?.task;
        if let Some(task) = &task {
            self.bytes -= task.body.bytes.len();
        }
        Some(task)
    }

    /// Takes back every task after the running one.
    pub(super) fn take_back(&mut self, running: u64) -> Vec<Task> {
        let mut taken = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.ticket > running) {
            taken.extend(entry.task.take());
        }
        self.bytes -= taken.iter().map(|task: &Task| task.body.bytes.len()).sum::<usize>();
        taken
    }

    /// Empties the table: tickets with their tasks, in order.
    pub(super) fn clear(&mut self) -> Vec<(u64, Task)> {
        self.bytes = 0;
        self.entries.drain(..).filter_map(|entry| Some((entry.ticket, entry.task?))).collect()
    }
}
