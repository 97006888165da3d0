//! All integration tests, in one binary: wasmtime is slow to link.

mod command;
mod engine;
mod liar;
mod support;
