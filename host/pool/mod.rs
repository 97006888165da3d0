//! The pool: slots, their worker processes, and the collector. Threads and
//! channels; knows no wasmtime.

pub mod item;
pub mod target;
pub mod module;
pub mod resources;
pub mod cache;
