//! The only code that knows wasmtime: compiles modules, loads artifacts, runs
//! tasks. Used by workers, never by the host process.

pub mod abi;
pub mod call;
pub mod compile;
pub mod componentize;
pub mod connection;
pub mod console;
pub mod core_guest;
pub mod describe;
pub mod describe_component;
pub mod descriptors;
pub mod desk;
pub mod deterministic;
pub mod engine;
pub mod instance;
mod net;
pub mod pages;
pub mod preview1;
pub mod reset;
pub mod resettable;
pub mod run;
pub mod snapshot;
pub mod state;
pub mod threads;
pub mod trap;
pub mod validate;
pub mod wasi;

pub use compile::{compile, start_compiler_threads};
pub use instance::{Guest, Report, TaskInput};
pub use run::Plain;

#[cfg(test)]
mod tests;
