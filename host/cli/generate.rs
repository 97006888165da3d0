//! `wpool generate`: man pages and shell completions, from the definition of
//! the arguments.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use super::args::{Cli, Generate, GenerateArgs};
use super::printer;
use crate::error::Error;
use crate::escape;

/// Runs the command.
///
/// # Errors
/// When a page or standard output cannot be written.
pub fn generate(args: &GenerateArgs) -> Result<(), Error> {
    let mut command = Cli::command();
    command.build();
    let mut text = Vec::new();
    match &args.what {
        Generate::Man { dir: Some(folder) } => return pages(&command, folder),
        Generate::Man { dir: None } => {
            Man::new(command).render(&mut text).map_err(Error::io("cannot write the man page"))?;
        }
        Generate::Completions { shell } => clap_complete::generate(*shell, &mut command, "wpool", &mut text),
    }
    printer::document(&text).map_err(Error::io("cannot write to standard output"))
}

/// `wpool.1`, `wpool-run.1` and so on.
fn pages(command: &clap::Command, folder: &Path) -> Result<(), Error> {
    let failed = || Error::io(format!("cannot write man pages to {}", escape::path(folder)));
    fs::create_dir_all(folder).map_err(failed())?;
    let write = |name: String, command: clap::Command| {
        let mut text = Vec::new();
        Man::new(command).title(&name).render(&mut text).map_err(failed())?;
        fs::write(folder.join(format!("{name}.1")), text).map_err(failed())
    };
    write("wpool".to_owned(), command.clone())?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("wpool-{}", sub.get_name());
        write(name.clone(), sub.clone().display_name(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_command_gets_a_page() {
        let folder = tempfile::tempdir().unwrap();
        generate(&GenerateArgs { what: Generate::Man { dir: Some(folder.path().to_owned()) } }).unwrap();
        for name in ["wpool.1", "wpool-run.1", "wpool-inspect.1", "wpool-compile.1", "wpool-generate.1"] {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.contains(".TH"), "{name}");
        }
        assert!(fs::read_to_string(folder.path().join("wpool-run.1")).unwrap().contains("imap"));
    }

    #[test]
    fn completions_can_be_made_for_every_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wpool", &mut text);
            assert!(String::from_utf8(text).unwrap().contains("imap-unordered"), "{shell}");
        }
    }
}
