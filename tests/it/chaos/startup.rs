//! E10: workers that cannot be started, or no longer.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, eventually};
use crate::command::Ran;
use crate::hostile::{Arena, drained};
use crate::support::skipped;

const SQUARE: &str = r#"(module (func (export "run") (param i64) (result i64)
    (i64.mul (local.get 0) (local.get 0))))"#;

/// Starts `./wpool` with a worker for each line of its input, has it answer
/// one, does something to it, and asks for more. With a `mount`, all that
/// happens where nobody else sees it.
fn meanwhile(arena: &Arena, act: &str, mount: &str) -> Option<Ran> {
    arena.write("square.wat", SQUARE);
    let wrapper: &[&str] = match (mount, rustix::process::geteuid().is_root()) {
        ("", _) => &[],
        (_, true) => &["unshare", "--mount"],
        (_, false) => &["unshare", "--mount", "--map-root-user"],
    };
    let script = format!(
        "{mount}
         mkfifo lines; (\"$BIN\" run square.wat --imap - --isolation process -j1 --stats-file stats.json < lines; echo code $?) &
         exec 9> lines; echo 2 >&9; read go; {act}
         echo 3 >&9; echo 4 >&9; exec 9>&-; wait"
    );
    let limit = PATIENCE.as_secs().to_string();
    let line = [&["timeout", &limit], wrapper].concat();
    let mut command = arena.shell(&line, &script);
    command.env("BIN", if mount.is_empty() { "./wpool" } else { "disk/wpool" });
    let mut shell = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(shell.stdout.take().unwrap());
    let err = drained(shell.stderr.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let mut stdin: ChildStdin = shell.stdin.take().unwrap();
    let _ended = stdin.write_all(b"go\n");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    let code = shell.wait().unwrap().code();
    let err = String::from_utf8(err.join().unwrap()).unwrap();
    if code == Some(77) || err.starts_with("unshare:") {
        return None;
    }
    assert_eq!(first, "4\n", "{rest} {err}");
    let code = rest.lines().find_map(|line| line.strip_prefix("code ")).unwrap().parse().ok();
    Some(Ran { code, out: rest, err })
}

/// The binary on a file system of its own, for the length of a test.
const ON_DISK: &str = "mkdir disk; mount -t tmpfs -o size=256m none disk || exit 77; cp \"$WPOOL\" disk/wpool";

#[test]
fn a_binary_that_is_removed_or_replaced_goes_on() {
    // A host starts its own image, which the system keeps.
    for act in ["rm wpool", "cp /bin/true other; mv -f other wpool", "mv wpool elsewhere", "chmod 0 wpool"] {
        let arena = Arena::new();
        std::fs::copy(crate::support::binary(), arena.path("wpool")).unwrap();
        let ran = meanwhile(&arena, act, "").unwrap();
        if act.starts_with("chmod") {
            no_storm(&arena, &ran, "Permission denied");
        } else {
            assert_eq!((ran.code, ran.out.as_str()), (Some(0), "9\n16\ncode 0\n"), "{act}: {}", ran.err);
        }
    }
}

/// The pool broke, after a handful of tries, and said why.
#[track_caller]
fn no_storm(arena: &Arena, ran: &Ran, why: &str) {
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert_eq!(ran.out, "code 4\n", "what was done stands, no more comes");
    assert!(ran.err.contains("workers keep dying") && ran.err.contains(why), "{}", ran.err);
    let stats: serde_json::Value = serde_json::from_str(&arena.0.read("stats.json")).unwrap();
    let (workers, exit) = (&stats["stats"]["workers"], &stats["exit"]);
    assert!(workers["died"].as_u64().unwrap() < 10 && workers["started"] == 1 && exit == 4, "{stats}");
}

#[test]
fn a_binary_that_may_no_longer_be_executed_breaks_the_pool() {
    let arena = Arena::new();
    let Some(ran) = meanwhile(&arena, "mount -o remount,bind,noexec disk || exit 77", ON_DISK) else {
        return skipped("noexec: no disk can be mounted here");
    };
    no_storm(&arena, &ran, "Permission denied");
}

#[test]
fn a_host_that_loses_proc_breaks_the_pool() {
    let arena = Arena::new();
    let Some(ran) = meanwhile(&arena, "mount -t tmpfs none /proc", ON_DISK) else {
        return skipped("no proc: no disk can be mounted here");
    };
    no_storm(&arena, &ran, "No such file");
}

#[test]
fn workers_killed_while_they_start_break_the_pool_in_time() {
    let arena = Arena::new();
    arena.write("square.wat", SQUARE);
    arena.attack("E10", &["compile", "square.wat"]);
    let started = Instant::now();
    let kill = |host: &std::process::Child| {
        for worker in crate::hostile::workers_of(host) {
            let pid = rustix::process::Pid::from_raw(worker).unwrap();
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    };
    // Each start has to outrun a look every few milliseconds, which some do:
    // either all is done in the end, or the pool says why not.
    let ran = arena.attack_with("E10", &["run", "square.wat", "--map", "[1,2,3]", "-j1"], b"", kill);
    match ran.code {
        Some(0) => assert_eq!(ran.out, "[1,4,9]\n"),
        Some(1) => assert!(ran.err.contains("worker-crashed"), "{}", ran.err),
        _ => assert!(ran.code == Some(4) && ran.err.contains("workers keep dying"), "{ran:?}"),
    }
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_start_that_is_stopped_for_a_while_goes_on() {
    let arena = Arena::new();
    arena.write("square.wat", SQUARE);
    arena.attack("E10", &["compile", "square.wat"]);
    let mut host = arena.0.command(&["run", "square.wat", "--map", "[1,2,3]", "-j1"]).spawn().unwrap();
    let pid = |pid: i32| rustix::process::Pid::from_raw(pid).unwrap();
    let worker = eventually("a worker", || crate::hostile::workers_of(&host).first().copied());
    let stopped = rustix::process::kill_process(pid(worker), rustix::process::Signal::STOP).is_ok();
    std::thread::sleep(Duration::from_millis(200));
    if stopped {
        let _gone = rustix::process::kill_process(pid(worker), rustix::process::Signal::CONT);
    }
    let out = drained(host.stdout.take().unwrap());
    assert_eq!(host.wait().unwrap().code(), Some(0));
    assert_eq!(out.join().unwrap(), b"[1,4,9]\n");
}
