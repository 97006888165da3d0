//! Small limits of the process: descriptors, processes, sizes of files. Each
//! run works, with fewer workers where need be, or ends with an error that
//! names the limit.

use std::os::unix::fs::PermissionsExt;

use super::PATIENCE;
use crate::command::Ran;
use crate::hostile::Arena;
use crate::support::skipped;

/// Counts for some milliseconds, so that all slots want workers.
const BUSY: &str = r#"(module (func (export "run") (param i32) (result i32) (local i32)
    (local.set 1 (i32.const 20000000))
    (loop $next
      (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
      (br_if $next (local.get 1)))
    (local.get 0)))"#;

const RUN: &str = "run busy.wat --map [1,2,3,4,5,6,7,8]";
const RIGHT: &str = "[1,2,3,4,5,6,7,8]\n";

fn arena() -> Arena {
    let arena = Arena::new();
    arena.write("busy.wat", BUSY);
    arena
}

/// What a run under a limit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// An error that names the limit.
    Error,
    /// Results, by fewer workers than were asked for, which was said.
    FewerWorkers,
    /// Results, and no word.
    Results,
}

/// Runs with a limit.
fn run(arena: &Arena, wrapper: &[&str], hint: &str, workers: u32) -> Came {
    let limit = PATIENCE.as_secs().to_string();
    let line = [&["timeout", &limit], wrapper].concat();
    let ran = Ran::from(arena.shell(&line, &format!("exec \"$WPOOL\" {RUN} -j{workers}")).output().unwrap());
    assert!(!ran.err.contains("panicked"), "{wrapper:?}: {}", ran.err);
    match ran.code {
        Some(0) => {
            assert_eq!(ran.out, RIGHT, "{wrapper:?}");
            let fewer = ran.err.contains("fewer workers");
            assert!(!fewer || ran.err.contains(hint), "{wrapper:?}: {}", ran.err);
            if fewer { Came::FewerWorkers } else { Came::Results }
        }
        Some(3 | 4) => {
            assert!(ran.err.contains(hint), "{wrapper:?} -j{workers}: {ran:?}");
            Came::Error
        }
        _ => panic!("{wrapper:?} -j{workers}: {ran:?}"),
    }
}

#[test]
fn few_descriptors_mean_fewer_workers_or_an_error() {
    let arena = arena();
    let mut worked = Vec::new();
    // Below six or so not even libraries can be loaded.
    for most in 6..=40 {
        let limit = format!("--nofile={most}");
        let one = run(&arena, &["prlimit", &limit], "ulimit -n", 1);
        let four = run(&arena, &["prlimit", &limit], "ulimit -n", 4);
        worked.push((most, one, four));
    }
    assert_eq!(worked[0].1, Came::Error);
    assert!(worked.iter().any(|(_, one, four)| *one == Came::Results && *four == Came::FewerWorkers), "{worked:?}");
    assert_eq!(worked.last(), Some(&(40, Came::Results, Came::Results)));
}

#[test]
fn the_soft_limit_on_descriptors_is_raised() {
    let arena = arena();
    assert_eq!(run(&arena, &["prlimit", "--nofile=12:4096"], "ulimit -n", 4), Came::Results);
}

#[test]
fn few_processes_mean_fewer_workers_or_an_error() {
    if !rustix::process::geteuid().is_root() {
        return skipped("few processes: only a superuser can run as a user who has none yet");
    }
    let arena = arena();
    for name in [".", "tmp"] {
        std::fs::set_permissions(arena.path(name), PermissionsExt::from_mode(0o777)).unwrap();
    }
    let binary = arena.own_binary();
    std::fs::create_dir(arena.path("home")).unwrap();
    std::os::unix::fs::chown(arena.path("home"), Some(61_234), Some(61_234)).unwrap();
    let (binary, cache) =
        (format!("WPOOL={}", binary.display()), format!("WPOOL_CACHE_DIR={}", arena.path("home/cache").display()));
    let mut worked = Vec::new();
    for most in [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 40] {
        let limit = format!("--nproc={most}");
        let user =
            ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "prlimit", &limit, "env", &binary, &cache];
        let one = run(&arena, &user, "ulimit -u", 1);
        let four = run(&arena, &user, "ulimit -u", 4);
        worked.push((most, one, four));
    }
    assert_eq!(worked[0].1, Came::Error);
    assert!(worked.iter().any(|(_, one, four)| *one == Came::Results && *four == Came::FewerWorkers), "{worked:?}");
    assert_eq!(worked.last(), Some(&(40, Came::Results, Came::Results)));
}

#[test]
fn a_small_limit_on_files_is_an_error_that_names_it() {
    let arena = arena();
    arena.write("many.json", serde_json::to_string(&(0..30_000).collect::<Vec<u32>>()).unwrap());
    arena.write("square.wat", r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#);
    for most in ["0", "1000", "5000", "100000"] {
        assert_eq!(run(&arena, &["prlimit", &format!("--fsize={most}")], "ulimit -f", 2), Came::Error, "{most}");
    }
    // Room for what workers share with the host, but not for the output.
    let filling: String = "9,".repeat(2_000_000);
    arena.write("large.json", format!("[{filling}9]"));
    for output in ["-o out.json", "> out.json"] {
        let script = format!("\"$WPOOL\" run square.wat --map large.json {output}; echo $?; ls");
        let ran = Ran::from(arena.shell(&["prlimit", "--fsize=3000000"], &script).output().unwrap());
        assert!(ran.out.starts_with("4\n") && ran.err.contains("ulimit -f"), "{output}: {ran:?}");
        assert!(output.starts_with('>') || !ran.out.contains("out.json\n"), "{output}: {}", ran.out);
        let _ = std::fs::remove_file(arena.path("out.json"));
    }
}

#[test]
fn little_memory_for_the_host_is_an_error_and_no_hang() {
    let arena = arena();
    let mut worked = Vec::new();
    for most in [2, 4, 8, 16, 64_u64] {
        let limit = format!("--data={}", most << 20);
        let line = ["timeout", "60", "prlimit", &limit];
        let ran = Ran::from(arena.shell(&line, &format!("exec \"$WPOOL\" {RUN} -j2")).output().unwrap());
        // An allocation that fails ends a program as abort does.
        assert!(matches!(ran.code, Some(0 | 3 | 4 | 134 | 127) | None), "{most} MiB: {ran:?}");
        if ran.code == Some(0) {
            assert_eq!(ran.out, RIGHT);
        }
        worked.push((most, ran.code));
    }
    println!("{worked:?}");
}
