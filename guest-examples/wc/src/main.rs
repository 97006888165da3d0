//! Counts lines, words and bytes of its standard input: an ordinary program
//! with a `main`, which knows nothing of the pool.

use std::io::{self, Read, Write};
use std::process::ExitCode;

const USAGE: &str = "usage: wc [-l] [-w] [-m] [-c]   lines, words, characters, bytes of standard input";

/// Exit code for text that is not UTF-8 and for arguments that do not exist.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    match count() {
        Ok(line) => match writeln!(io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => {
            eprintln!("wc: {message}");
            ExitCode::from(REFUSED)
        }
    }
}

/// The figures asked for, in the order they were asked for; without arguments
/// lines, words and bytes.
fn count() -> Result<String, String> {
    let mut wanted: Vec<char> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix('-') {
            Some(letters) if !letters.is_empty() && letters.chars().all(|c| "lwmc".contains(c)) => {
                wanted.extend(letters.chars());
            }
            _ => return Err(format!("unknown argument {argument:?}; {USAGE}")),
        }
    }
    if wanted.is_empty() {
        wanted.extend(['l', 'w', 'c']);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|e| format!("cannot read standard input: {e}"))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| format!("the input is not UTF-8 (first bad byte at {})", e.valid_up_to()))?;
    let figures: Vec<String> = wanted.iter().map(|figure| measure(text, *figure).to_string()).collect();
    Ok(figures.join(" "))
}

fn measure(text: &str, figure: char) -> usize {
    match figure {
        'l' => text.matches('\n').count(),
        'w' => text.split_whitespace().count(),
        'm' => text.chars().count(),
        _ => text.len(),
    }
}
