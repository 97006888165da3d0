//! The command line: arguments, input, output, reports. One file per command.

pub mod args;
pub mod compile;
pub mod doctor;
pub mod env;
pub mod generate;
pub mod input;
pub mod inspect;
pub mod journal;
pub mod memory;
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

use clap::builder::Styles;
use clap::{Arg, CommandFactory, FromArgMatches};

use self::args::{Cli, Command, MessageArgs};
use self::prepare::Talk;
use crate::error::Error;

/// The whole command, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    memory::give_back_large_blocks();
    signals::survive_file_size_limit();
    let cli = match parsed(Styles::styled()) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                printer::usage(&plain());
            } else {
                // Help for a reader that is gone is not missed.
                let _ = error.print();
            }
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

/// The arguments, with values that begin with a minus taken for values where
/// a number is wanted: what is wrong with `--timeout -1` is the number, not an
/// unknown option `-1`.
fn parsed(styles: Styles) -> Result<Cli, clap::Error> {
    let numeric = |arg: &Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| ["DUR", "SIZE", "N"].contains(&name.as_str()))
    };
    let mut command = Cli::command().styles(styles.clone());
    for sub in ["run", "inspect", "compile"] {
        command = command.mut_subcommand(sub, |sub| {
            sub.mut_args(|arg| if numeric(&arg) { arg.allow_hyphen_values(true) } else { arg })
        });
    }
    let mut matches = command.try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Cli::command().styles(styles)))
}

/// What is wrong with the arguments, without the parser's own terminal
/// sequences: those that are left are of the arguments.
fn plain() -> String {
    parsed(Styles::plain()).err().map_or_else(String::new, |error| error.render().ansi().to_string())
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
