//! From an artifact to a component and the functions that tasks call.

#![expect(unsafe_code, reason = "only the engine itself can map an artifact that the cache vouches for")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex};

use crate::describe::Function;
use crate::runtime::abi::command::CommandCall;
use crate::runtime::abi::component::Call;
use crate::runtime::abi::component::call::FunctionCall;
use crate::runtime::describe_component::is_run;
use crate::runtime::instance::stale_or_refused;
use crate::runtime::wasi::Grants;
use crate::wire::message::{Abi, Initializer, Refusal, RunSetup, Target};

/// Maps an artifact; or copies it, where the worker sees no `/proc` or the
/// file system forbids to execute.
pub fn open(engine: &Engine, mut artifact: File) -> Result<Component, Refusal> {
    let path = format!("/proc/self/fd/{}", artifact.as_raw_fd());
    // SAFETY: artifacts come from our own compile worker through the host's
    // private, authenticated cache, and the file is never written again. There
    // is no safe way to load compiled code.
    let mapped = unsafe { Component::deserialize_file(engine, path) };
    mapped.or_else(|_| {
        let mut bytes = Vec::new();
        let read = artifact.rewind().and_then(|()| artifact.read_to_end(&mut bytes));
        read.map_err(|error| Refusal::denied("cannot read the artifact", &error))?;
        // SAFETY: as above.
        unsafe { Component::deserialize(engine, bytes) }.map_err(|error| stale_or_refused(&error))
    })
}

/// Described functions by interface and name.
pub type Known<'a> = HashMap<(Option<&'a str>, &'a str), &'a Function>;

pub fn find(
    component: &Component,
    target: &Target,
    known: &Known<'_>,
    setup: &RunSetup,
    grants: &Grants,
) -> Result<Call, Refusal> {
    match target.abi {
        Abi::Component => function(component, target, known, setup).map(Call::Function),
        Abi::Command => {
            let export = program(component, target)?;
            Ok(Call::Command(export, CommandCall::new(&setup.task, grants.scratch())?))
        }
        Abi::Core | Abi::Bytes => Err(Refusal::module("a component's functions have types of their own")),
    }
}

fn function(
    component: &Component,
    target: &Target,
    known: &Known<'_>,
    setup: &RunSetup,
) -> Result<FunctionCall, Refusal> {
    let described = known.get(&(target.interface.as_deref(), target.name.as_str()));
    let export = lookup(component, target.interface.as_deref(), &target.name);
    match (described, export) {
        (Some(described), Some(export)) => FunctionCall::new(described, export, target.spread, &setup.task),
        _ => Err(Refusal::module(format!("the component exports no function {:?}", target.name))),
    }
}

/// The function of a program: that of `wasi:cli/run`, whatever the command
/// line called it.
fn program(component: &Component, target: &Target) -> Result<ComponentExportIndex, Refusal> {
    let ty = component.component_type();
    let mut exports = ty.exports(component.engine());
    let interface = exports.find_map(|(name, _)| is_run(name).then_some(name));
    let export = interface.and_then(|interface| lookup(component, Some(interface), "run"));
    export.ok_or_else(|| Refusal::module(format!("{:?} cannot be run as a command: no wasi:cli/run", target.name)))
}

fn lookup(component: &Component, interface: Option<&str>, name: &str) -> Option<ComponentExportIndex> {
    let interface = match interface {
        Some(interface) => Some(component.get_export_index(None, interface)?),
        None => None,
    };
    component.get_export_index(interface.as_ref(), name)
}

/// The initializer, if its arguments fit.
pub fn initializer_call(
    component: &Component,
    called: &Initializer,
    known: &Known<'_>,
    setup: &RunSetup,
) -> Result<FunctionCall, Refusal> {
    if called.target.abi != Abi::Component {
        return Err(Refusal::module(format!("{:?} is no function of a component", called.target.name)));
    }
    let setup = RunSetup { task: called.spec(&setup.task), ..setup.clone() };
    let call = function(component, &called.target, known, &setup)?;
    call.check(called.args.as_bytes()).map_err(|failure| called.misfit(&failure))?;
    Ok(call)
}
