//! The programs of `examples/gallery.rs` print what
//! `guest-examples/gallery/expected` says, and so do their twins in Python.
//!
//! Skipped, visibly, where the guest is not built or there is no CPython; a
//! failure then under `WPOOL_REQUIRE_GUESTS=1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::guests::guest;
use crate::parity::cpython;
use crate::support::{binary, told};

/// Programs with guests that share objects (p08, p09), and those with clients
/// (p15, p16): they have tests of their own.
const ELSEWHERE: [&str; 4] = ["p08", "p09", "p15", "p16"];

/// Programs whose results never end in CPython: what that prints is told.
const HANGING: [&str; 1] = ["p20"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/gallery")
}

/// Every program but those.
fn programs() -> Vec<String> {
    (1..=20).map(|n| format!("p{n:02}")).filter(|name| !ELSEWHERE.contains(&name.as_str())).collect()
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

#[test]
fn every_program_prints_what_its_page_says() {
    let Some(module) = guest("gallery.wasm") else { return };
    let gallery = binary().parent().unwrap().join("examples/gallery");
    assert!(gallery.exists(), "cargo test builds the examples");
    let cache = tempfile::tempdir().unwrap();
    for program in programs() {
        let mut command = Command::new(&gallery);
        command.arg(&module).arg(&program).env_clear().env("WPOOL_CACHE_DIR", cache.path());
        let (out, err) = printed(&mut command);
        assert_eq!((out, err), (expected(&program), String::new()), "{program}");
    }
}

#[test]
fn every_program_prints_the_same_in_python() {
    let Some(version) = cpython() else { return };
    for program in programs() {
        let path = folder().join("python").join(format!("{program}.py"));
        let (out, err) = printed(Command::new("python3").args(["-B", "-W", "ignore"]).arg(path));
        if HANGING.contains(&program.as_str()) {
            told(&format!("gallery: {program} on CPython {version}: {}", out.trim().replace('\n', "; ")));
        } else {
            assert_eq!(out, expected(&program), "{program} on CPython {version}: {err}");
        }
    }
}

#[test]
fn every_program_is_on_the_page() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/multiprocessing.md")).unwrap();
    for n in 1..=20 {
        assert!(page.contains(&format!("\n| P{n} |")), "docs/multiprocessing.md has no row of P{n}");
    }
    for program in programs() {
        let command = format!("`gallery p{}`", &program[1..]);
        assert!(page.contains(&command), "docs/multiprocessing.md does not name {command}");
    }
}
