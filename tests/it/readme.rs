//! What README.md and docs/ show is what happens: their console blocks are
//! run, and what they print is compared.
//!
//! A block fenced as `console` has commands after `$ ` (continued after `> `)
//! and, below each, what it prints on both streams. `[..]` stands for anything
//! within a line, a line `...` for any lines. A block fenced as
//! `LANGUAGE file=NAME` is a file that the blocks after it find. All blocks of
//! a page share one folder and one shell; the folder has links to the
//! project's own.
//!
//! Blocks that need built guests, or a compiler for some, are skipped where
//! there is none, and fail under `WPOOL_REQUIRE_GUESTS=1`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{binary, skipped};

/// Ends the output of each command.
const MARK: char = '\u{1e}';

/// What a page's blocks find in their folder.
const LINKS: [&str; 5] = ["docs", "guest-examples", "tests", "wit", "target/guests"];

#[derive(Debug, PartialEq, Eq)]
enum Block {
    File { name: String, text: String },
    Console { line: usize, steps: Vec<Step> },
}

/// A command and what it is to print.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    expected: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The blocks of a page that do something.
fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((line, text)) = lines.next() {
        let Some(info) = text.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().map(|(_, text)| text).take_while(|text| *text != "```").collect();
        if info == "console" {
            found.push(Block::Console { line, steps: steps(&body) });
        } else if let Some((_, name)) = info.split_once(" file=") {
            found.push(Block::File { name: name.to_owned(), text: body.join("\n") + "\n" });
        }
    }
    found
}

fn steps(body: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), expected: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if step.expected.is_empty() => step.command += &format!("\n{more}"),
                _ => step.expected.push((*line).to_owned()),
            }
        }
    }
    steps
}

/// Whether `actual` is what `pattern` allows; `[..]` is any text.
pub fn line_fits(pattern: &str, actual: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| actual.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether lines are what the patterns allow; `...` is any number of lines.
fn fits(patterns: &[String], actual: &[&str]) -> bool {
    match (patterns, actual) {
        ([], []) => true,
        ([first, rest @ ..], _) if first == "..." => (0..=actual.len()).any(|skip| fits(rest, &actual[skip..])),
        ([first, patterns @ ..], [line, lines @ ..]) => line_fits(first, line) && fits(patterns, lines),
        _ => false,
    }
}

/// Where scripts/setup-guests.sh leaves the compiler that it found.
fn guest_compiler() -> Option<PathBuf> {
    let folder = |name: &str, below: &str| Some(PathBuf::from(std::env::var_os(name)?).join(below));
    let prefix = folder("WPOOL_GUEST_PREFIX", "")
        .or_else(|| folder("XDG_CACHE_HOME", "wpool/guest-toolchain"))
        .or_else(|| folder("HOME", ".cache/wpool/guest-toolchain"))?;
    Some(prefix.join("env.sh")).filter(|path| path.exists())
}

/// Whether what a block needs is there.
fn can_run(steps: &[Step]) -> Result<(), String> {
    let needs = |what: &str| steps.iter().any(|step| step.command.contains(what));
    if needs("target/guests") && !root().join("target/guests/textstats.wasm").exists() {
        return Err("the guests are not built (make guests)".to_owned());
    }
    if needs("rustc ") && guest_compiler().is_none() {
        return Err("there is no compiler for guests (scripts/setup-guests.sh)".to_owned());
    }
    Ok(())
}

/// The folder of a page, with links to what its blocks name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("target")).unwrap();
    for link in LINKS.iter().filter(|link| root().join(link).exists()) {
        symlink(root().join(link), folder.path().join(link)).unwrap();
    }
    fs::create_dir(folder.path().join("bin")).unwrap();
    symlink(binary(), folder.path().join("bin/wpool")).unwrap();
    if let Some(env) = guest_compiler() {
        // `rustc` is the compiler that has the wasm targets.
        let script = format!("#!/bin/sh\n. '{}'\nexec \"${{RUSTC:-$WPOOL_TEST_RUSTC}}\" \"$@\"\n", env.display());
        let path = folder.path().join("bin/rustc");
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Runs commands in one shell; gives what each printed.
fn shell(folder: &Path, steps: &[&Step]) -> Vec<String> {
    let script: String = steps
        .iter()
        .map(|step| format!("{}\nstatus=$?; printf '\\036'; (exit $status)\n", step.command))
        .collect::<Vec<_>>()
        .concat();
    let path = std::env::var("PATH").unwrap_or_default();
    let file = folder.join("bin/script");
    fs::write(&file, script).unwrap();
    // One pipe for both streams, so that their order can be seen.
    let output = Command::new("bash")
        .args(["-c", "exec bash bin/script 2>&1"])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("WPOOL_TEST_RUSTC", rustc())
        .env("WPOOL_CACHE_DIR", folder.join("cache"))
        .env_remove("CI")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_terminator(MARK).map(str::to_owned).collect()
}

/// The compiler of this machine, by its full path: `rustc` in a page's folder
/// would be the script that asks for it.
fn rustc() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("rustc")).find(|path| path.exists()).unwrap_or_default()
}

/// Runs the blocks of a page; gives what did not fit.
fn run(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let folder = folder();
    let mut steps: Vec<(usize, &Step)> = Vec::new();
    let blocks = blocks(&text);
    for block in &blocks {
        match block {
            Block::File { name, text } => {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Block::Console { line, steps: all } => match can_run(all) {
                Ok(()) => steps.extend(all.iter().map(|step| (*line, step))),
                Err(why) => {
                    assert!(std::env::var_os("WPOOL_REQUIRE_GUESTS").is_none_or(|value| value != "1"), "{page}: {why}");
                    skipped(&format!("{page}:{line}: {why}"));
                }
            },
        }
    }
    let commands: Vec<&Step> = steps.iter().map(|(_, step)| *step).collect();
    let mut outputs = shell(folder.path(), &commands).into_iter();
    let mut complaints = Vec::new();
    for (line, step) in steps {
        let output = outputs.next().unwrap_or_else(|| "(the shell ended before)".to_owned());
        if !fits(&step.expected, &output.lines().collect::<Vec<_>>()) {
            complaints.push(format!(
                "{page}, block at line {line}\n$ {}\n--- the page says\n{}\n--- what happens\n{output}",
                step.command,
                step.expected.join("\n")
            ));
        }
    }
    complaints
}

#[test]
fn the_readme_shows_what_happens() {
    let complaints = run("README.md");
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn the_pages_show_what_happens() {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(root().join("docs")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".md") {
            complaints.extend(run(&format!("docs/{name}")));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn patterns_fit_what_they_should_and_nothing_else() {
    assert!(line_fits("a [..] b", "a 1 2 b") && line_fits("[..]", "") && line_fits("same", "same"));
    assert!(line_fits("took [..] s, [..] items", "took 0.3 s, 5 items"));
    assert!(!line_fits("same", "same ") && !line_fits("a [..] b", "a b") && !line_fits("x[..]", "y"));
    let patterns = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(fits(&patterns(&["a", "...", "z"]), &["a", "b", "c", "z"]));
    assert!(fits(&patterns(&["..."]), &[]));
    assert!(!fits(&patterns(&["a", "...", "z"]), &["a", "b"]));
    assert!(!fits(&patterns(&[]), &["left over"]));
}

#[test]
fn blocks_are_found_with_their_commands() {
    let page =
        "text\n```rust file=a.rs\nfn main() {}\n```\n```console\n$ one \\\n> more\nout\n$ two\n```\n```sh\nno\n```\n";
    let expected = vec![
        Block::File { name: "a.rs".to_owned(), text: "fn main() {}\n".to_owned() },
        Block::Console {
            line: 5,
            steps: vec![
                Step { command: "one \\\nmore".to_owned(), expected: vec!["out".to_owned()] },
                Step { command: "two".to_owned(), expected: Vec::new() },
            ],
        },
    ];
    assert_eq!(blocks(page), expected);
}

#[test]
fn a_page_that_lies_is_caught() {
    let folder = folder();
    let step = Step { command: "echo out; echo err >&2; false".to_owned(), expected: Vec::new() };
    let status = Step { command: "echo $?".to_owned(), expected: Vec::new() };
    assert_eq!(shell(folder.path(), &[&step, &status]), ["out\nerr\n", "1\n"]);
}

#[test]
fn benchmarks_say_what_was_measured() {
    let checked = Command::new("python3").arg(root().join("benches/report.py")).arg("--check").output();
    let Ok(checked) = checked else {
        return skipped("no python3 to read the results with");
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
