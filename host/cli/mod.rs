//! The edges of the command: arguments, input, output, reports.

pub mod input;
pub mod output;
