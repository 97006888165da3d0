//! The programs of `examples/gallery` print what `guest-examples/gallery/expected`
//! says, and so do their twins in Python. `[..]` in it is any text.
//!
//! Skipped, visibly, where the guests are not built or there is no CPython; a
//! failure then under `WPOOL_REQUIRE_GUESTS=1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::guests::guest;
use crate::parity::cpython;
use crate::readme::line_fits;
use crate::support::{binary, told};

/// Programs at whose end CPython does worse, and how many lines are the same
/// before: what it prints then is told.
const WORSE: [(&str, usize); 2] = [("p08", 3), ("p20", 0)];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/gallery")
}

fn programs() -> impl Iterator<Item = String> {
    (1..=20).map(|n| format!("p{n:02}"))
}

fn expected(program: &str) -> String {
    std::fs::read_to_string(folder().join("expected").join(program))
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a command prints, and on its standard error.
fn printed(command: &mut Command) -> (String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Whether lines are as expected.
fn fit(expected: &[&str], lines: &[&str]) -> bool {
    expected.len() == lines.len() && expected.iter().zip(lines).all(|(pattern, line)| line_fits(pattern, line))
}

#[test]
fn every_program_prints_what_its_page_says() {
    let guests = ["gallery.wasm", "ports.wasm", "echo.wasm"].map(guest);
    let [Some(module), Some(_), Some(_)] = &guests else { return };
    let gallery = binary().parent().unwrap().join("examples/gallery");
    assert!(gallery.exists(), "cargo test builds the examples");
    let cache = tempfile::tempdir().unwrap();
    for program in programs() {
        let mut command = Command::new(&gallery);
        command.arg(module.parent().unwrap()).arg(&program).env_clear().env("WPOOL_CACHE_DIR", cache.path());
        let (out, err) = printed(&mut command);
        let expected = expected(&program);
        let fits = fit(&expected.lines().collect::<Vec<_>>(), &out.lines().collect::<Vec<_>>());
        assert!(fits && err.is_empty(), "{program} is to print\n{expected}and printed\n{out}{err}");
    }
}

#[test]
fn every_program_prints_the_same_in_python() {
    let Some(version) = cpython() else { return };
    for program in programs() {
        let path = folder().join("python").join(format!("{program}.py"));
        // CPython hangs where it does worse than it did when this was written.
        let (out, err) = printed(Command::new("timeout").args(["120", "python3", "-B", "-W", "ignore"]).arg(path));
        let (expected, printed) = (expected(&program), out.lines().collect::<Vec<_>>());
        let mut expected: Vec<&str> = expected.lines().collect();
        let worse = WORSE.iter().find(|(name, _)| *name == program).map(|(_, lines)| *lines);
        let same = worse.unwrap_or(printed.len()).min(printed.len());
        if let Some(lines) = worse {
            expected.truncate(lines);
            assert!(printed.len() > lines, "{program} on CPython {version}: {err}");
            told(&format!("gallery: {program} on CPython {version}: {}", printed[same..].join("; ")));
        }
        assert!(fit(&expected, &printed[..same]), "{program} on CPython {version} printed\n{out}{err}");
    }
}

#[test]
fn every_program_is_on_the_page() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/multiprocessing.md")).unwrap();
    for n in 1..=20 {
        let row = page.lines().find(|line| line.starts_with(&format!("| P{n} |"))).unwrap_or_else(|| panic!("P{n}"));
        for named in [format!("`gallery p{n:02}`"), format!("(../guest-examples/gallery/python/p{n:02}.py)")] {
            assert!(row.contains(&named), "docs/multiprocessing.md, P{n}: no {named}");
        }
    }
}
