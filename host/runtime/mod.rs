//! The only code that knows wasmtime: compiles modules, loads artifacts, runs
//! tasks. Used by workers, never by the host process.

pub mod console;
pub mod engine;
pub mod state;
pub mod trap;
