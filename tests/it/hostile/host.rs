//! E and F: what happens to the processes, and what surrounds the host.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::{Arena, workers_of};

/// Counts for half a second or so.
const BUSY: &str = r#"(module (func (export "run") (param i32) (result i32) (local i32)
    (local.set 1 (i32.const 2000000000))
    (loop $next
      (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
      (br_if $next (local.get 1)))
    (local.get 0)))"#;

fn send(name: &str, pid: i32) {
    let _gone = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
}

#[test]
fn killed_workers_cost_nothing_but_time() {
    let arena = Arena::new();
    arena.write("busy.wat", BUSY.replace("2000000000", "300000000"));
    let items = serde_json::to_string(&(0..30).collect::<Vec<u32>>()).unwrap();
    let mut next = Instant::now() + Duration::from_millis(400);
    // Fewer than the tries of an item: even one that meets all of them ends.
    let mut left = 12;
    let kill = |host: &Child| {
        if left > 0
            && Instant::now() > next
            && let Some(worker) = workers_of(host).last()
        {
            next = Instant::now() + Duration::from_millis(150);
            left -= 1;
            send("KILL", *worker);
        }
    };
    let line = ["run", "busy.wat", "--map", &items, "-j2", "--retries", "20", "--sandbox", "enforce"];
    let ran = arena.attack_with("E01", &line, b"", kill);
    assert_eq!((ran.code, ran.out), (Some(0), format!("{items}\n")), "{}", ran.err);
}

#[test]
fn a_stopped_worker_is_a_timeout() {
    let arena = Arena::new();
    arena.write("m.wat", BUSY);
    let mut stopped = false;
    let started = Instant::now();
    let stop = |host: &Child| {
        // When the only worker has begun; the compile worker was another.
        if !stopped && started.elapsed() > Duration::from_millis(20) {
            for worker in workers_of(host) {
                let exe = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
                let ticks: u64 = exe.split_whitespace().nth(13).and_then(|text| text.parse().ok()).unwrap_or(0);
                if ticks > 8 {
                    send("STOP", worker);
                    stopped = true;
                }
            }
        }
    };
    arena.attack("E02", &["compile", "m.wat"]);
    let line = ["run", "m.wat", "--map", "[1]", "-j1", "--timeout", "1500ms", "--output", "records"];
    let ran = arena.attack_with("E02", &line, b"", stop);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.records()[0]["kind"], "timeout");
    assert!(stopped);
}

#[test]
fn a_stopped_host_goes_on() {
    let arena = Arena::new();
    arena.write("m.wat", BUSY);
    let mut steps = vec!["CONT", "TSTP", "CONT", "STOP"];
    let mut next = Instant::now() + Duration::from_millis(300);
    let stop = |host: &Child| {
        if Instant::now() > next
            && let Some(name) = steps.pop()
        {
            next = Instant::now() + Duration::from_millis(150);
            send(name, host.id() as i32);
        }
    };
    let ran = arena.attack_with("E05", &["run", "m.wat", "--map", "[1,2,3,4]", "-j1"], b"", stop);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[1,2,3,4]\n"), "{}", ran.err);
}

#[test]
fn a_full_disk_is_an_error_and_no_file() {
    let arena = Arena::new();
    let ran = arena.attack("F02", &["run", "square.wat", "--map", "[1,2]", "-o", "/dev/full"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let script = "exec \"$0\" run square.wat --map '[1,2]' > /dev/full";
    let mut command = arena.0.command(&[]);
    let program = command.get_program().to_owned();
    command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(program).current_dir(arena.path("."));
    let output = command.env("WPOOL_CACHE_DIR", arena.path("cache")).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

/// Takes the compiler a second or two.
fn slow_to_compile() -> String {
    let locals = 250;
    let sums: String =
        (0..locals).map(|n| format!("(local.set {n} (i32.add (local.get {n}) (i32.const 1)))")).collect();
    let (open, close) = ("(loop ".repeat(220), "(br_if 0 (local.get 0)))".repeat(220));
    format!(
        r#"(module (func (export "slow") (local{}) {open} {sums} {close})
        (func (export "run") (param i32) (result i32) (local.get 0)))"#,
        " i32".repeat(locals)
    )
}

#[test]
fn a_compile_worker_killed_by_others_is_started_once_more() {
    for kills in [1, 100] {
        let arena = Arena::new();
        arena.write("slow.wat", slow_to_compile());
        let mut killed = Vec::new();
        let kill = |host: &Child| {
            // Each as soon as it works.
            if let Some(worker) = workers_of(host).last()
                && killed.len() < kills
                && !killed.contains(worker)
                && ticks(*worker) > 5
            {
                killed.push(*worker);
                send("KILL", *worker);
            }
        };
        let line = ["run", "slow.wat", "--map", "[7]", "--invoke", "run", "-j1"];
        let ran = arena.attack_with("A13", &line, b"", kill);
        if kills == 1 {
            assert_eq!((killed.len(), ran.code, ran.out.as_str()), (1, Some(0), "[7]\n"), "{}", ran.err);
        } else {
            assert_eq!((killed.len(), ran.code, ran.out.as_str()), (2, Some(3), ""), "{}", ran.err);
            assert!(ran.err.contains("killed twice") && ran.err.contains("--compile-memory"), "{}", ran.err);
        }
    }
}

/// Processor time that a process has spent by itself, in hundredths of a
/// second.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.split_whitespace().nth(13).and_then(|text| text.parse().ok()).unwrap_or(0)
}
