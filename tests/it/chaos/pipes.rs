//! Readers that go away, at any moment.

use std::io::Read;
use std::process::Stdio;

use super::{Dice, PATIENCE, eventually, is_alive};
use crate::hostile::{Arena, born, drained, workers_of};

/// Traps on every third number.
const THIRD: &str = r#"(module (func (export "run") (param i32) (result i32)
    (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 3))) (then unreachable))
    (local.get 0)))"#;

fn arena() -> Arena {
    let arena = Arena::new();
    arena.write("third.wat", THIRD);
    arena.write("many.json", serde_json::to_string(&(0..60_000).collect::<Vec<u32>>()).unwrap());
    arena.attack("warm", &["compile", "third.wat"]);
    arena
}

#[test]
fn a_reader_of_results_may_leave_at_any_moment() {
    let arena = arena();
    let mut dice = Dice::cast("stdout");
    for run in 0..24 {
        let mode = ["--map", "--imap", "--imap-unordered"][run % 3];
        let mut host = arena.0.command(&["run", "third.wat", mode, "many.json", "-q"]).spawn().unwrap();
        let mut out = host.stdout.take().unwrap();
        // Less than all by more than a pipe holds.
        let read = dice.below(200_000);
        if run % 2 == 0 {
            out.by_ref().take(read).read_to_end(&mut Vec::new()).unwrap();
        } else {
            std::thread::sleep(dice.millis(60));
        }
        let workers: Vec<_> = workers_of(&host).iter().filter_map(|pid| Some((*pid, born(*pid)?))).collect();
        drop(out);
        let mut said = Vec::new();
        host.stderr.take().unwrap().read_to_end(&mut said).unwrap();
        let status = host.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{mode} after {read} bytes: {}", String::from_utf8_lossy(&said));
        assert!(said.is_empty(), "{mode}: {}", String::from_utf8_lossy(&said));
        assert!(workers.iter().all(|(pid, birth)| !is_alive(*pid, birth)), "{mode}: workers are left");
    }
}

#[test]
fn a_reader_of_messages_may_leave_at_any_moment() {
    let arena = arena();
    let mut dice = Dice::cast("stderr");
    for run in 0..12 {
        let mut command = arena.0.command(&["run", "third.wat", "--map", "many.json", "--progress", "always"]);
        let mut host = command.spawn().unwrap();
        let out = drained(host.stdout.take().unwrap());
        let mut err = host.stderr.take().unwrap();
        if run % 3 != 0 {
            err.by_ref().take(dice.below(1_500)).read_to_end(&mut Vec::new()).unwrap();
        }
        drop(err);
        let status = eventually("the end of a run that nobody hears", || host.try_wait().unwrap());
        assert_eq!(status.code(), Some(1));
        let values: Vec<Option<u32>> = serde_json::from_slice(&out.join().unwrap()).unwrap();
        let right = |(n, value): (u32, &Option<u32>)| *value == if n % 3 == 0 { None } else { Some(n) };
        assert!(values.len() == 60_000 && (0..).zip(&values).all(right));
    }
}

#[test]
fn a_run_without_any_standard_stream_does_its_work() {
    let arena = arena();
    for closed in ["<&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-", ">&-"] {
        let script = format!("\"$WPOOL\" run third.wat --map '[1,2,4]' -o out.json {closed}");
        let mut shell = arena.shell(&["timeout", &PATIENCE.as_secs().to_string()], &script);
        let output = shell.stdout(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{closed}");
        assert_eq!(arena.0.read("out.json"), "[1,2,4]\n", "{closed}");
        std::fs::remove_file(arena.path("out.json")).unwrap();
    }
}
