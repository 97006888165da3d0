//! In-memory tests of the task loop.
