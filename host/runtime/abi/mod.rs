//! The ways a task function takes an item and gives a result, one file each.

pub mod bytes;
pub mod command;
pub mod component;
pub mod core;
pub mod payload;
