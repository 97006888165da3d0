//! All integration tests, in one binary: wasmtime is slow to link.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests panic to fail, and start processes"
)]

mod abis;
mod chaos;
mod command;
mod component_grants;
mod engine;
mod evil;
mod found;
mod fuzz;
mod gallery;
mod grants;
mod guards;
mod guests;
mod hostile;
mod initializer;
mod journal;
mod liar;
mod listen;
mod lockdown;
mod network;
mod parity;
mod pool;
mod readme;
mod runs;
mod serve;
mod shared;
mod support;
mod tidy;
