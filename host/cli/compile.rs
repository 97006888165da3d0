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
    let (limits, capabilities) = (args.engine.complete(args.limits.limits()), args.capabilities.capabilities()?);
    let snapshot = args.initializer.initialisation(&limits, &capabilities, args.stub_imports);
    if snapshot.is_some() && !capabilities.dirs.is_empty() {
        let why = "--dir: what an initializer does with directories is not kept, they may change";
        return Err(Error::Usage(why.to_owned()));
    }
    if snapshot.is_some() && !capabilities.net.is_empty() {
        let why = "--allow-net: what an initializer finds on a network is not kept, it may change";
        return Err(Error::Usage(why.to_owned()));
    }
    let (module, artifact) = artifact(&args.module, &args.engine, snapshot.as_ref(), Default::default(), &talk)?;
    if let Some(note) = artifact.note {
        return Err(Error::Workers(note));
    }
    let how = if artifact.cached { "was in the cache already" } else { "compiled" };
    talk.printer.note(&format!("{}: {how} ({:.3} s)", escape::name(module.name()), artifact.seconds));
    Ok(())
}
