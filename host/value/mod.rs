//! Typed values: WIT types as data, JSON text to values and back.
//!
//! Pure: no engine, no I/O, no threads.

pub mod ty;
