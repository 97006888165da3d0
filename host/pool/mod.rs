//! The pool: slots, their worker processes, and the collector. Threads and
//! channels; knows no wasmtime.

pub mod cache;
pub mod compile;
pub mod item;
pub mod module;
pub mod process;
pub mod resources;
pub mod target;
