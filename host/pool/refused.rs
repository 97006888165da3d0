//! Modules that were refused in this process. A compiler that works for two
//! minutes in vain does so once, however often the module is asked for.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::limits::{CompileLimits, SandboxMode};
use crate::pool::cache::Key;
use crate::pool::compile::CompileOptions;
use crate::pool::module::Module;

/// Most refusals that are remembered; the oldest go first.
const MOST: usize = 64;

/// The most of a message that is remembered, in bytes: a worker wrote it.
const LONGEST: usize = 8 << 10;

/// All that a refusal may depend on.
#[derive(Debug, PartialEq, Eq)]
struct Case {
    key: Key,
    limits: CompileLimits,
    sandbox: SandboxMode,
    worker: Option<PathBuf>,
}

/// The cases with their messages. No code between lock and unlock can leave it
/// half changed.
static REFUSED: Mutex<VecDeque<(Case, String)>> = Mutex::new(VecDeque::new());

/// Compiles, unless that has failed before by the module's own fault.
///
/// # Errors
/// As `compile`.
pub fn once<T>(
    module: &Module,
    options: &CompileOptions,
    compile: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let case = Case {
        key: Key::new(module, &options.settings()),
        limits: options.limits.clone(),
        sandbox: options.sandbox,
        worker: options.worker.clone(),
    };
    let known = || REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = known().iter().find(|(known, _)| *known == case) {
        return Err(Error::Module(text.clone()));
    }
    let result = compile();
    if let Err(Error::Module(text)) = &result {
        let mut known = known();
        if known.len() == MOST {
            known.pop_front();
        }
        known.push_back((case, text[..text.floor_char_boundary(LONGEST)].to_owned()));
    }
    result
}
