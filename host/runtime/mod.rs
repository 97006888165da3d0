//! The only code that knows wasmtime: compiles modules, loads artifacts, runs
//! tasks. Used by workers, never by the host process.

pub mod componentize;
pub mod console;
pub mod describe_component;
pub mod deterministic;
pub mod engine;
pub mod preview1;
pub mod state;
pub mod threads;
pub mod trap;
pub mod wasi;
