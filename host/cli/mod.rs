//! The command line: arguments, input, output, reports. One file per command.

pub mod args;
pub mod env;
pub mod printer;
pub mod progress;
pub mod signals;
pub mod stats;
pub mod units;
