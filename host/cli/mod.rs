//! The command line: arguments, input, output, reports. One file per command.

pub mod args;
pub mod compile;
pub mod doctor;
pub mod env;
pub mod generate;
pub mod input;
pub mod inspect;
pub mod output;
pub mod prepare;
pub mod printer;
pub mod progress;
pub mod run;
pub mod schema;
pub mod signals;
pub mod stats;
pub mod units;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command, MessageArgs};
use self::prepare::Talk;
use crate::error::Error;

/// The whole command, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help for a reader that is gone is not missed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command {
        Command::Run(args) => ExitCode::from(run::run(&args)),
        Command::Inspect(args) => told(inspect::inspect(&args), &args.messages),
        Command::Compile(args) => told(compile::compile(&args), &args.messages),
        Command::Doctor(args) => told(doctor::doctor(&args), &args.messages),
        Command::Generate(args) => told(generate::generate(&args), &MessageArgs::default()),
    }
}

fn told(result: Result<(), Error>, messages: &MessageArgs) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Talk::new(messages).printer.error(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}
