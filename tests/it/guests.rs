//! The examples under `guest-examples/`: each folder's `run.args` gives its
//! `expected` output and exit code. Skipped, visibly, where the guests were
//! not built; a failure then under `WPOOL_REQUIRE_GUESTS=1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{binary, skipped};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the example in a language that brings its interpreter along, where
/// what makes components of it could be had.
fn interpreted(name: &str) {
    let module = format!("{name}.wasm");
    if root().join("target/guests").join(&module).exists() {
        example(name, &module);
    } else {
        skipped(&format!("{module} is not built (scripts/setup-languages.sh)"));
    }
}

/// A built guest, or `None` where guests may be missing.
pub fn guest(name: &str) -> Option<PathBuf> {
    let path = root().join("target/guests").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("WPOOL_REQUIRE_GUESTS").is_none_or(|value| value != "1"),
        "{} is missing: run `make guests`",
        path.display()
    );
    skipped(&format!("{name} is not built (make guests)"));
    None
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Runs the example of `name` with `module`.
#[track_caller]
fn example(name: &str, module: &str) {
    let Some(module) = guest(module) else { return };
    let folder = root().join("guest-examples").join(name);
    let cache = tempfile::tempdir().unwrap();
    let arguments = read(&folder.join("run.args")).expect("run.args");
    let module = module.to_str().expect("a path in UTF-8");
    let output = Command::new(binary())
        .arg("run")
        .args(arguments.lines().map(|argument| argument.replace("{module}", module)))
        .current_dir(&folder)
        .env_clear()
        .env("WPOOL_CACHE_DIR", cache.path().join("cache"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let expected = read(&folder.join("expected")).expect("expected");
    let code: i32 = read(&folder.join("expected.exit")).map_or(0, |text| text.trim().parse().expect("a number"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "standard error: {errors}");
    assert_eq!(output.status.code(), Some(code), "{errors}");
}

#[test]
fn textstats_counts_the_words_of_files() {
    example("textstats", "textstats.wasm");
}

#[test]
fn textstats_in_core_form_gives_the_same() {
    example("textstats", "textstats-core.wasm");
}

#[test]
fn thumbnail_makes_small_pictures_and_names_the_broken_one() {
    example("thumbnail", "thumbnail.wasm");
}

#[test]
fn tasks_of_shared_share_a_queue_a_lock_and_a_store() {
    example("shared", "shared.wasm");
}

#[test]
fn shared_in_core_form_gives_the_same() {
    example("shared", "shared-core.wasm");
}

#[test]
fn logparse_reads_access_logs() {
    example("logparse", "logparse.wasm");
}

#[test]
fn wc_counts_its_standard_input() {
    example("wc", "wc.wasm");
}

#[test]
fn primes_counts_primes() {
    example("primes", "primes.wasm");
}

#[test]
fn ports_are_listened_at_where_they_are_granted() {
    example("ports", "ports.wasm");
}

#[test]
fn echo_says_lines_back_as_a_program_and_as_a_component() {
    example("echo", "echo.wasm");
    example("echo", "echo-component.wasm");
}

#[test]
fn hostile_costs_only_its_items() {
    example("hostile", "hostile.wasm");
}

#[test]
fn python_counts_words_in_a_fresh_interpreter_for_each_item() {
    interpreted("python");
}

#[test]
fn javascript_counts_words_in_a_fresh_interpreter_for_each_item() {
    interpreted("javascript");
}
