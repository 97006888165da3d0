//! The compile worker's work: a file in, a description and an artifact out.

use std::borrow::Cow;

use crate::describe::{Description, Reset, Shape};
use crate::runtime::componentize::componentize;
use crate::runtime::engine::EngineSpec;
use crate::runtime::resettable::resettable;
use crate::runtime::trap::size_text;
use crate::runtime::validate::{Binary, kind, to_binary, validate};
use crate::runtime::{describe, describe_component, snapshot};
use crate::wire::message::{CompileSetup, Refusal};

/// The largest description of a module, in bytes: with the rest of a set-up it
/// must fit into one frame.
const MAX_DESCRIPTION: usize = 32 << 20;

/// Compiles a module, a component, or the text of either.
///
/// Validation comes first and is cheap: a module that will be refused can cost
/// minutes and gigabytes to compile.
///
/// # Errors
/// A file that is no module, an invalid one, or one that is over a limit.
pub fn compile(file: &[u8], setup: &CompileSetup) -> Result<(Description, Vec<u8>), Refusal> {
    if file.len() as u64 > setup.limits.max_module {
        let limit = size_text(setup.limits.max_module);
        return Err(Refusal::module(format!("the module is larger than {limit} (raise it with --max-module)")));
    }
    let binary = to_binary(file)?;
    match kind(&binary)? {
        Binary::Core => compile_core(&binary, setup),
        Binary::Component => compile_component(&binary, setup, false),
        Binary::CoreWithTypes => {
            validate(&binary, setup.features, false)?;
            let component: Cow<'_, [u8]> = componentize(&binary)?.into();
            compile_component(&component, setup, true)
        }
    }
}

/// Starts the threads that the engine compiles on, and waits until each has
/// reported in. To be called after what binds only the calling thread
/// (landlock) and before what forbids new threads (seccomp).
///
/// # Errors
/// When the system gives no threads.
pub fn start_compiler_threads() -> Result<(), Refusal> {
    let builder = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("wpool-compile-{number}"));
    builder.build_global().map_err(|error| {
        match std::error::Error::source(&error).and_then(|source| source.downcast_ref()) {
            Some(source) => Refusal::denied("cannot start the compiler's threads", source),
            None => Refusal::machine(format!("cannot start the compiler's threads: {error}")),
        }
    })?;
    rayon::broadcast(|_| ());
    Ok(())
}

fn compile_core(binary: &[u8], setup: &CompileSetup) -> Result<(Description, Vec<u8>), Refusal> {
    validate(binary, setup.features, false)?;
    let (shown, reset) = shown(binary, setup, Shape::Core)?;
    let description = sized(Description { reset, ..describe::core(binary)? })?;
    let engine = EngineSpec::compile(setup, false).engine()?;
    let artifact = engine.precompile_module(&shown).map_err(uncompilable)?;
    Ok((description, artifact))
}

fn compile_component(
    binary: &[u8],
    setup: &CompileSetup,
    componentized: bool,
) -> Result<(Description, Vec<u8>), Refusal> {
    validate(binary, setup.features, true)?;
    let (shown, reset) = shown(binary, setup, Shape::Component)?;
    let mut description = Description { componentized, reset, ..describe_component::describe(binary)? };
    description.needs.instances += description.reset.as_ref().map_or(0, |reset| reset.keepers);
    let description = sized(description)?;
    let engine = EngineSpec::compile(setup, true).engine()?;
    let artifact = engine.precompile_component(&shown).map_err(uncompilable)?;
    Ok((description, artifact))
}

/// What is compiled: the module, or one that shows its state beside.
fn shown<'b>(binary: &'b [u8], setup: &CompileSetup, shape: Shape) -> Result<(Cow<'b, [u8]>, Option<Reset>), Refusal> {
    if setup.instrument {
        return Ok((snapshot::instrument(binary, shape)?.into(), None));
    }
    Ok(match resettable(binary, shape, setup.features) {
        Some((reset, exported)) => (exported.into(), Some(reset)),
        None => (binary.into(), None),
    })
}

/// Refuses a description that is too large for the messages it travels in.
fn sized(description: Description) -> Result<Description, Refusal> {
    let text = serde_json::to_vec(&description);
    let size = text.map_err(|error| Refusal::machine(format!("cannot describe the module: {error}")))?.len();
    if size > MAX_DESCRIPTION {
        return Err(Refusal::module(format!(
            "the names and types of what the module exports and imports take {size} bytes; at most {MAX_DESCRIPTION} \
             are taken"
        )));
    }
    Ok(description)
}

fn uncompilable(error: wasmtime::Error) -> Refusal {
    Refusal::module(format!("the module does not compile: {error:#}"))
}
