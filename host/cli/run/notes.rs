//! What running tasks say: lines of their logs, on standard error, and how far
//! they are, for the progress line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::printer::{Printer, Volume};
use crate::cli::progress::Step;
use crate::escape;
use crate::pool::Listener;
use crate::wire::objects::Note;

/// How long it is told how far a task was.
const FRESH: Duration = Duration::from_secs(3);

/// The task that said last how far it is.
#[derive(Clone, Debug, Default)]
pub struct Steps(Arc<Mutex<Option<(Step, Instant)>>>);

impl Steps {
    /// What was said not long ago.
    #[must_use]
    pub fn latest(&self) -> Option<Step> {
        let latest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.filter(|(_, said)| said.elapsed() < FRESH).map(|(step, _)| step)
    }

    fn set(&self, step: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, Instant::now()));
    }
}

/// Hears tasks for the command.
#[must_use]
pub fn listener(printer: &Arc<Printer>, steps: &Steps) -> Listener {
    let (printer, steps) = (Arc::clone(printer), steps.clone());
    Listener::new(move |index, note| match note {
        Note::Line(level, text) if printer.volume() >= Volume::Normal => {
            let text = escape::escape(text.as_bytes(), usize::MAX);
            printer.lines(&format!("item {index}: {}: {text}\n", level.as_str()));
        }
        Note::Line(..) => {}
        Note::Progress(done, total) => steps.set(Step { index, done, total }),
    })
}
