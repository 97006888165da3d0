//! wpool: a WebAssembly-sandboxed worker pool.

pub mod capabilities;
pub mod cli;
pub mod describe;
pub mod error;
pub mod escape;
pub mod limits;
pub mod outcome;
pub mod placeholder;
pub mod pool;
pub mod runtime;
pub mod sandbox;
pub mod scan;
pub mod value;
pub mod wire;
pub mod worker;
