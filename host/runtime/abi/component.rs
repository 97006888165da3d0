//! Components: typed parameters and results.

use std::fs::File;
use std::sync::Arc;

use wasmtime::Engine;

use crate::describe::Description;
use crate::outcome::{Failure, Kind};
use crate::runtime::instance::{Report, TaskInput};
use crate::runtime::wasi::Grants;
use crate::wire::message::{Refusal, RunSetup};
use crate::wire::page::Page;

/// A loaded component.
pub struct ComponentGuest {}

impl ComponentGuest {
    /// Loads an artifact.
    ///
    /// # Errors
    /// Always, for now.
    pub fn load(_: &Engine, _: File, _: &RunSetup, _: Arc<Page>, _: Arc<Grants>) -> Result<Self, Refusal> {
        Err(Refusal::module("components cannot be run yet"))
    }

    /// Runs one task.
    pub fn run(&mut self, _: &TaskInput<'_>, _: &mut Vec<u8>) -> Report {
        Report::failed(Failure::new(Kind::Denied, "components cannot be run yet"))
    }
}

/// Describes a component that was compiled to `artifact`.
///
/// # Errors
/// Always, for now.
pub fn describe(_: &Engine, _wasm: &[u8], _artifact: &[u8]) -> Result<Description, Refusal> {
    Err(Refusal::module("components cannot be described yet"))
}
