//! What people are told about failed items: a line each, the tails of what
//! they printed, and after many only counts. Every guest byte is escaped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::str::FromStr;

use crate::error::Error;
use crate::escape::{SHOWN, escape, escape_lines};
use crate::outcome::{Captured, Failure, Kind, Outcome};

/// So many failures have lines of their own.
pub const SHOWN_FAILURES: u64 = 20;

/// Whose output is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShowOutput {
    /// That of failed items.
    #[default]
    Failed,
    /// That of every item.
    All,
    /// Nobody's.
    Never,
}

impl FromStr for ShowOutput {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "failed" => Ok(Self::Failed),
            "all" => Ok(Self::All),
            "never" => Ok(Self::Never),
            _ => Err(Error::Usage(format!("--show-output: {name:?} is none of failed, all, never"))),
        }
    }
}

/// Makes the lines for standard error; printing them is the caller's, who may
/// have a progress line to move out of the way.
#[derive(Debug, Default)]
pub struct FailurePrinter {
    show: ShowOutput,
    shown: u64,
    rest: BTreeMap<Kind, u64>,
}

impl FailurePrinter {
    /// A printer that has seen no failure.
    #[must_use]
    pub fn new(show: ShowOutput) -> Self {
        Self { show, ..Self::default() }
    }

    /// The lines about an outcome, newline included; `None` when there is
    /// nothing to be said.
    pub fn report(&mut self, outcome: &Outcome) -> Option<String> {
        match &outcome.result {
            Err(failure) => self.failed(outcome, failure),
            Ok(_) if self.show == ShowOutput::All && !outcome.captured.is_empty() => {
                let mut lines = format!("{}:\n", item(outcome));
                put_tails(&mut lines, &outcome.captured);
                Some(lines)
            }
            Ok(_) => None,
        }
    }

    /// The lines about an item that failed after its task, as one whose file
    /// could not be named.
    pub fn report_failure(&mut self, outcome: &Outcome, failure: &Failure) -> Option<String> {
        self.failed(outcome, failure)
    }

    fn failed(&mut self, outcome: &Outcome, failure: &Failure) -> Option<String> {
        // Those who did not run have nothing of their own to tell.
        if failure.kind == Kind::Cancelled || self.shown == SHOWN_FAILURES {
            *self.rest.entry(failure.kind).or_default() += 1;
            return None;
        }
        self.shown += 1;
        let message = escape(failure.message.as_bytes(), SHOWN);
        let mut lines = format!("error: {}: {}: {message}\n", item(outcome), failure.kind);
        if self.show != ShowOutput::Never {
            put_tails(&mut lines, &outcome.captured);
        }
        Some(lines)
    }

    /// One line that counts what had none; `None` when all had.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let total: u64 = self.rest.values().sum();
        if total == 0 {
            return None;
        }
        let counts: Vec<String> = self.rest.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let more = if self.shown > 0 { "more " } else { "" };
        let items = if total == 1 { "item" } else { "items" };
        Some(format!("error: {total} {more}{items} failed: {}\n", counts.join(", ")))
    }
}

/// `item 3`, with its file or line where that is known.
fn item(outcome: &Outcome) -> String {
    match outcome.tag.as_ref().and_then(|tag| tag.input.as_ref()) {
        Some(input) => format!("item {} ({})", outcome.index, escape(input.as_bytes(), SHOWN)),
        None => format!("item {}", outcome.index),
    }
}

fn put_tails(lines: &mut String, captured: &Captured) {
    for (indent, tail) in [("  stdout | ", &captured.stdout), ("  stderr | ", &captured.stderr)] {
        if !tail.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{}", escape_lines(tail, indent, SHOWN));
        }
    }
}
