//! The `wpool` command, and the worker processes that it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    wpool::worker::run_if_requested().unwrap_or_else(wpool::cli::main)
}
