//! The command line: arguments, input, output, reports. One file per command.

pub mod args;
pub mod units;
