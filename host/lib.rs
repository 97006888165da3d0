//! A pool of worker processes that run tasks of a WebAssembly module, each in
//! a sandbox of its own: Python's `multiprocessing.Pool` for code that nobody
//! trusts.
//!
//! A program that embeds the pool is its own worker binary, so it calls
//! [`worker::run_if_requested`] first. A module is compiled by a worker
//! ([`pool::compile::prepare`]), the pool is started on the artifact
//! ([`pool::Pool::start`]), and [`pool::Pool::outcomes`] gives one
//! [`outcome::Outcome`] for each item, in order.
//!
//! ```no_run
//! use wpool::pool::compile::{CompileOptions, prepare};
//! use wpool::pool::module::Module;
//!
//! # fn main() -> Result<(), wpool::error::Error> {
//! if wpool::worker::run_if_requested().is_some() {
//!     return Ok(());
//! }
//! let module = Module::from_file("tasks.wasm")?;
//! let artifact = prepare(&module, &CompileOptions::default(), &mut |_elapsed| {})?;
//! println!("{} functions", artifact.description.functions.len());
//! # Ok(())
//! # }
//! ```
//!
//! Outcome kinds have stable names:
//!
//! ```
//! use wpool::outcome::Kind;
//!
//! assert_eq!("out-of-memory".parse(), Ok(Kind::OutOfMemory));
//! assert_eq!(Kind::WorkerCrashed.to_string(), "worker-crashed");
//! ```

pub mod capabilities;
pub mod cli;
pub mod describe;
pub mod error;
pub mod escape;
pub mod layer;
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
