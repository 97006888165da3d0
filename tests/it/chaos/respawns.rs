//! Workers that are replaced again and again: the host stays as it is.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{Census, chosen, resident};
use crate::hostile::{Arena, born, workers_of};

/// What the host's memory may grow by, whatever the number of respawns.
const GROWTH: u64 = 6 << 20;

/// Items asked for before an answer is read.
const AHEAD: u64 = 50;

/// Asks a host for `items` squares, and has it rest.
fn ask(stdin: &mut impl Write, out: &mut impl BufRead, items: u64) {
    for first in (0..items).step_by(AHEAD as usize) {
        let numbers = first..items.min(first + AHEAD);
        let lines: String = numbers.clone().map(|number| format!("{number}\n")).collect();
        stdin.write_all(lines.as_bytes()).unwrap();
        for number in numbers {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, format!("{}\n", number * number));
        }
    }
}

/// One host whose workers are replaced after each item.
fn stays_flat(options: &[&str], respawns: u64) {
    let arena = Arena::new();
    let square = format!("{}/tests/fixtures/square.wat", env!("CARGO_MANIFEST_DIR"));
    let line = [&["run", &square, "--imap", "-", "-j2", "--stats-file", "stats.json"], options].concat();
    let mut host = arena.0.command(&line).env("TMPDIR", arena.path("tmp")).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut out) = (host.stdin.take().unwrap(), BufReader::new(host.stdout.take().unwrap()));
    ask(&mut stdin, &mut out, 200);
    // Of several looks the one with the least: a worker that is about to
    // start has descriptors already.
    let looks = (0..20).map(|_| {
        std::thread::sleep(super::LOOK);
        at_rest(host.id())
    });
    let before = looks.min_by_key(|census| (census.descriptors.len(), census.threads)).unwrap();
    let memory = resident(host.id());
    for part in 1..=4 {
        ask(&mut stdin, &mut out, respawns / 4);
        super::eventually(&format!("what there was: {options:?} {part} {before:?}"), || {
            let after = at_rest(host.id());
            (after.descriptors.len() <= before.descriptors.len() && after.threads <= before.threads).then_some(())
        });
        let grown = resident(host.id()).saturating_sub(memory);
        assert!(grown < GROWTH, "{options:?}: {grown} bytes more after {part} of 4 parts");
    }
    let grown = resident(host.id()).saturating_sub(memory);
    let last: Vec<_> = workers_of(&host).into_iter().filter_map(|pid| Some((pid, born(pid)?))).collect();
    drop(stdin);
    assert_eq!(host.wait().unwrap().code(), Some(0));
    assert!(last.iter().all(|(pid, birth)| !super::is_alive(*pid, birth)), "workers are left");
    assert_eq!(std::fs::read_dir(arena.path("tmp")).unwrap().count(), 0, "temporary files are left");
    let stats: serde_json::Value = serde_json::from_str(&arena.0.read("stats.json")).unwrap();
    let started = stats["stats"]["workers"]["started"].as_u64().unwrap();
    assert!(started >= respawns, "{stats}");
    println!(
        "{options:?}: {started} workers; {} descriptors, {} threads, {grown} bytes more",
        before.descriptors.len(),
        before.threads
    );
}

/// The census without the workers' own descriptors: they come and go with
/// each item, so it is taken when none is there.
fn at_rest(host: u32) -> Census {
    super::eventually("no worker", || {
        let census = Census::of(host);
        (census.children == 0 && Census::of(host) == census).then_some(census)
    })
}

#[test]
fn hosts_stay_flat_over_respawns() {
    let respawns = chosen("WPOOL_CHAOS_RESPAWNS", 2_000);
    stays_flat(&["--isolation", "process"], respawns);
    stays_flat(&["--max-tasks-per-child", "1", "--scratch", "/s"], respawns / 4);
}
