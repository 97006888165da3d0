//! The rows of what is copied from CPython and of what is done better, with
//! the tests that hold each: docs/parity.md is this table.
