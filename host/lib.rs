//! A pool of worker processes that run tasks of a WebAssembly module, each in
//! a sandbox of its own: Python's `multiprocessing.Pool` for code that nobody
//! trusts.
//!
//! [`Pool`] has Python's calls, over the functions of one [`Module`]. A program
//! that embeds it is its own worker binary, so it calls
//! [`worker::run_if_requested`] first.
//!
//! ```standalone_crate
//! use wpool::{AsyncResult, CallError, Module, Pool};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     if wpool::worker::run_if_requested().is_some() {
//!         return Ok(());
//!     }
//!     let tasks = r#"(module
//!         (func (export "square") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))
//!         (func (export "divide") (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1))))"#;
//!     let pool = Pool::builder(Module::from_bytes("tasks.wat", tasks)?).processes(2).no_cache().build()?;
//!
//!     let squares: Vec<u64> = pool.map("square", [1, 2, 3, 4])?;
//!     assert_eq!(squares, [1, 4, 9, 16]);
//!
//!     let later: AsyncResult<i64> = pool.apply_async("divide", (84, 2))?;
//!     assert_eq!(later.get()?, 42);
//!
//!     // A failure is one item's, with everything known about it.
//!     let results: Vec<Result<i64, CallError>> = pool.imap("square", 0..3)?.collect();
//!     assert!(results.iter().all(Result::is_ok));
//!     let error = pool.starmap::<i64, _>("divide", [(1, 1), (1, 0)]).unwrap_err();
//!     assert_eq!(error.task().map(|task| task.index), Some(1));
//!     Ok(())
//! }
//! ```
//!
//! Below are the parts: [`pool`] is the engine that the command runs on, with
//! items and outcomes as they are.
//!
//! Outcome kinds have stable names:
//!
//! ```
//! use wpool::outcome::Kind;
//!
//! assert_eq!("out-of-memory".parse(), Ok(Kind::OutOfMemory));
//! assert_eq!(Kind::WorkerCrashed.to_string(), "worker-crashed");
//! ```

pub mod api;
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
pub mod tree;
pub mod value;
pub mod wire;
pub mod worker;

pub use crate::api::manager::{
    Counter, Event, KeyValue, Lock, LockGuard, Manager, Permit, Queue, Semaphore, Shareable, SharedError,
};
pub use crate::api::{
    AsyncResult, CallError, CallOptions, Pool, PoolBuilder, Process, ProcessBuilder, Results, Service, ServiceHandle,
    Stats, TaskError, Traffic, cpu_count,
};
pub use crate::capabilities::Capabilities;
pub use crate::error::Error;
pub use crate::limits::{Isolation, Limits};
pub use crate::outcome::{Kind, Outcome};
pub use crate::pool::module::Module;
pub use crate::pool::{Chunksize, Outcomes};
pub use crate::wire::message::ResultAs;
pub use crate::wire::objects::{Level, Note};
