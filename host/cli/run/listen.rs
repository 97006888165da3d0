//! `--listen`: what does not go with it, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::args::RunArgs;
use crate::error::Error;
use crate::pool::listen::Stopper;

/// Refuses options that have no meaning for connections.
///
/// # Errors
/// [`Error::Usage`] naming one.
pub fn check(args: &RunArgs) -> Result<(), Error> {
    let (input, output) = (&args.input, &args.output);
    let given = [
        ("--journal", output.journal.is_some()),
        ("--resume", output.resume.is_some()),
        ("--failed", output.failed.is_some()),
        ("--retries", args.pool.retries > 0),
        ("--only", input.only.is_some()),
        ("--id", input.id.is_some()),
        ("--input", input.input.is_some()),
        ("--result", args.function.result.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::Usage(format!(
            "{option} does not go with --listen: a connection comes once, and its end is its result"
        ))),
        None => Ok(()),
    }
}

/// Ends the items of a run.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Those that are read.
    Flag(Arc<AtomicBool>),
    /// Those that connect.
    Clients(Stopper),
}

impl Gate {
    /// There are no more.
    pub fn shut(&self) {
        match self {
            Self::Flag(flag) => flag.store(true, Ordering::Relaxed),
            Self::Clients(stopper) => stopper.stop(),
        }
    }

    /// Whether those that came are served, though their turn was yet to come.
    #[must_use]
    pub fn drains(&self) -> bool {
        matches!(self, Self::Clients(_))
    }
}
