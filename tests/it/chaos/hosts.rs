//! Hosts that are killed at random moments: nothing of theirs is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Dice, LOOK, chosen, is_alive};
use crate::hostile::{Arena, born, workers_of};

/// How long a worker may live on without its host.
const ORPHANED: Duration = Duration::from_secs(1);

/// Takes a while to compile: many functions of some length.
fn large_module() -> String {
    let body = "(local.set 0 (i64.add (i64.mul (local.get 0) (i64.const 7)) (i64.rotl (local.get 0) (i64.const 9))))";
    let functions: String =
        (0..400).map(|_| format!("(func (param i64) (result i64) {} (local.get 0))", body.repeat(40))).collect();
    format!(r#"(module {functions} (func (export "run") (param i64) (result i64) (local.get 0)))"#)
}

/// What a host is doing when it is killed.
const ACTS: [(&str, &[&str]); 5] = [
    ("compiling", &["run", "large.wat", "--map", "[1,2,3]", "-j2"]),
    ("starting workers", &["run", "spin.wat", "--map", "spins.json", "-j4"]),
    ("running", &["run", "spin.wat", "--imap", "spins.json", "-j2", "--isolation", "reuse"]),
    ("spawning", &["run", "spin.wat", "--map", "small.json", "-j2", "--isolation", "process"]),
    ("with scratch", &["run", "spin.wat", "--map", "spins.json", "-j2", "--scratch", "/s"]),
];

/// All processes of a binary, where the kernel tells; workers are opaque to
/// all but the superuser.
fn processes_of(binary: &Path) -> BTreeSet<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == binary)).collect()
}

/// Kills a host after `delay`; tells how many workers it had then, and how
/// long the last of them lived on.
fn kill_one(arena: &Arena, binary: &Path, name: &str, line: &[&str], delay: Duration) -> (usize, Duration) {
    let mut command = arena.shell(&[], "exec ./wpool \"$@\"");
    command.args([&["sh"], line].concat()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut host = command.spawn().unwrap();
    let started = Instant::now();
    let mut seen = BTreeSet::new();
    let mut look = |host: &Child| {
        let workers = workers_of(host);
        seen.extend(workers.iter().filter_map(|pid| Some((*pid, born(*pid)?))));
        workers.len()
    };
    while started.elapsed() < delay {
        look(&host);
        std::thread::sleep(Duration::from_micros(500).min(delay.saturating_sub(started.elapsed())));
    }
    let held = look(&host);
    host.kill().unwrap();
    let killed = Instant::now();
    host.wait().unwrap();
    loop {
        let mut left: Vec<i32> =
            seen.iter().filter(|(pid, birth)| is_alive(*pid, birth)).map(|(pid, _)| *pid).collect();
        left.extend(processes_of(binary));
        let took = killed.elapsed();
        if left.is_empty() {
            return (held, took);
        }
        assert!(took < ORPHANED, "{name}, killed after {delay:?}: {left:?} live on");
        std::thread::sleep(LOOK);
    }
}

#[test]
fn hosts_killed_at_random_moments_leave_no_worker() {
    let arena = Arena::new();
    let binary = arena.own_binary().canonicalize().unwrap();
    arena.write("large.wat", large_module());
    let spin = format!("{}/tests/fixtures/spin.wat", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(spin, arena.path("spin.wat")).unwrap();
    arena.write("spins.json", serde_json::to_string(&vec![400_000_000; 40]).unwrap());
    arena.write("small.json", serde_json::to_string(&vec![1000; 4_000]).unwrap());
    arena.attack("warm", &["compile", "spin.wat"]);
    let mut dice = Dice::cast("hosts");
    let (runs, mut worst, mut caught) = (chosen("WPOOL_CHAOS_HOSTS", 100), Duration::ZERO, [0; ACTS.len()]);
    for run in 0..runs {
        let act = usize::try_from(run).unwrap() % ACTS.len();
        let (name, line) = ACTS[act];
        // Short ones more often: starts are where it is narrow.
        let longest = 1 + dice.below(150);
        let (held, took) = kill_one(&arena, &binary, name, line, dice.millis(longest));
        worst = worst.max(took);
        caught[act] += usize::from(held > 0);
    }
    println!("{runs} hosts killed; with workers, by act: {caught:?}; the last worker was gone after {worst:?}");
    assert!(caught.iter().sum::<usize>() as u64 * 4 > runs, "most hosts must have had workers: {caught:?}");
    // The next run is not troubled by what they left, and sweeps it away.
    let ran = arena.attack("after", &["run", "large.wat", "--map", "[1,2,3]", "--scratch", "/s"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[1,2,3]\n"), "{}", ran.err);
}

#[test]
fn a_killed_host_takes_stopped_workers_with_it() {
    let arena = Arena::new();
    let spin = format!("{}/tests/fixtures/spin.wat", env!("CARGO_MANIFEST_DIR"));
    let line = ["run", &spin, "--map", "[4000000000,4000000000]", "-j2"];
    let mut host = arena.0.command(&line).spawn().unwrap();
    let workers = super::eventually("two workers", || {
        // At work, locked in since.
        let busy =
            |pid: &i32| super::stat(pid.unsigned_abs(), 11).is_some_and(|ticks| ticks.parse::<u32>().unwrap() > 5);
        let workers: Vec<i32> = workers_of(&host).into_iter().filter(busy).collect();
        (workers.len() == 2).then_some(workers)
    });
    let born: Vec<_> = workers.iter().map(|pid| (*pid, born(*pid).unwrap())).collect();
    let pid = |pid: i32| rustix::process::Pid::from_raw(pid).unwrap();
    for worker in workers {
        rustix::process::kill_process(pid(worker), rustix::process::Signal::STOP).unwrap();
    }
    host.kill().unwrap();
    host.wait().unwrap();
    let killed = Instant::now();
    while born.iter().any(|(pid, birth)| is_alive(*pid, birth)) {
        assert!(killed.elapsed() < ORPHANED, "stopped workers live on");
        std::thread::sleep(LOOK);
    }
}
