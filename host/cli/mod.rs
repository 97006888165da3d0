//! The command line: arguments, input, output, reports. One file per command.

pub mod args;
pub mod compile;
pub mod env;
pub mod generate;
pub mod input;
pub mod inspect;
pub mod output;
pub mod prepare;
pub mod printer;
pub mod progress;
pub mod schema;
pub mod signals;
pub mod stats;
pub mod units;
