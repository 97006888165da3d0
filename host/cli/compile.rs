//! `wpool compile`: fills the cache, so that the runs to come start at once.

use super::args::CompileArgs;
use super::prepare::{Talk, artifact};
use crate::error::Error;
use crate::escape;

/// Runs the command.
///
/// # Errors
/// When the module is refused, or compiled but not kept.
pub fn compile(args: &CompileArgs) -> Result<(), Error> {
    let talk = Talk::new(&args.messages);
    let (module, artifact) = artifact(&args.module, &args.engine, Default::default(), &talk)?;
    if let Some(note) = artifact.note {
        return Err(Error::Workers(note));
    }
    let how = if artifact.cached { "was in the cache already" } else { "compiled" };
    talk.printer.note(&format!("{}: {how} ({:.3} s)", escape::name(module.name()), artifact.seconds));
    Ok(())
}
