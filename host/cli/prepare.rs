//! What every command that takes a module does first: read it, open the
//! cache, compile it or find it compiled.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::args::engine::EngineArgs;
use super::args::{MessageArgs, When};
use super::env::{ProgressStyle, Surroundings};
use super::printer::{Color, Printer, Volume};
use super::progress::Progress;
use super::units::show_size;
use crate::error::Error;
use crate::escape;
use crate::pool::cache::Cache;
use crate::pool::compile::{Artifact, CompileOptions, prepare};
use crate::pool::initialise::{self, Initialisation};
use crate::pool::module::Module;

/// How a command talks to the user.
#[derive(Debug)]
pub struct Talk {
    /// Where messages go.
    pub printer: Arc<Printer>,
    /// How progress is shown.
    pub progress: ProgressStyle,
}

impl Talk {
    /// Follows the options and the terminal.
    #[must_use]
    pub fn new(messages: &MessageArgs) -> Self {
        let around = Surroundings::detect();
        let volume = match (messages.quiet, messages.verbose) {
            (true, _) => Volume::Quiet,
            (_, true) => Volume::Verbose,
            _ => Volume::Normal,
        };
        let color = if around.color(messages.color) { Color::On } else { Color::Off };
        // Messages of -v and a line that is drawn again do not go together.
        let alone = messages.progress == When::Auto && volume != Volume::Normal;
        let progress = if alone { ProgressStyle::None } else { around.progress(messages.progress) };
        Self { printer: Arc::new(Printer::new(volume, color)), progress }
    }
}

/// Reads a module and gets its artifact; that of the module after a call of the
/// initializer, where there is to be a snapshot.
///
/// # Errors
/// As [`Module::from_file`], [`prepare`] and [`initialise::prepare`].
pub fn artifact(
    path: &Path,
    engine: &EngineArgs,
    snapshot: Option<&Initialisation>,
    stop: Arc<AtomicBool>,
    talk: &Talk,
) -> Result<(Module, Artifact), Error> {
    let limits = engine.compile_limits();
    let module = Module::from_file_up_to(path, limits.max_module)?;
    let settings = engine.settings();
    let options = CompileOptions {
        limits,
        features: settings.features,
        epochs: settings.epochs,
        fuel: settings.fuel,
        stack: settings.stack,
        instrument: settings.instrument,
        sandbox: engine.sandbox(),
        cache: cache(&talk.printer),
        worker: None,
        stop,
    };
    let mut progress = Progress::new(&talk.printer, talk.progress);
    let mut tell = |elapsed| progress.compiling(elapsed);
    let artifact = match snapshot {
        None => prepare(&module, &options, &mut tell)?,
        Some(wanted) => initialise::prepare(&module, &options, wanted, &mut tell)?,
    };
    drop(progress);
    if let Some(note) = &artifact.note {
        talk.printer.warning(note);
    }
    let how = if artifact.cached { "found in the cache" } else { "compiled" };
    talk.printer.detail(&format!(
        "{}: {}, {how} in {:.3} s",
        escape::name(module.name()),
        show_size(module.size()),
        artifact.seconds
    ));
    Ok((module, artifact))
}

/// The cache, unless there is something wrong with it.
fn cache(printer: &Printer) -> Option<Cache> {
    let Some(path) = Cache::default_path() else {
        printer
            .warning("no cache: neither WPOOL_CACHE_DIR, XDG_CACHE_HOME nor HOME is set; the module is compiled anew");
        return None;
    };
    match Cache::open(path) {
        Ok(cache) => Some(cache),
        Err(unusable) => {
            printer.warning(&format!("{unusable}; the module is compiled anew"));
            None
        }
    }
}
