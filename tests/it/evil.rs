//! The whole command with workers that lie: each lie costs at most its item,
//! whatever the host is told; its memory and its descriptors stay as few as
//! they were, and nothing is left behind.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::{binary, children_of, is_itself, peak_memory};

/// The host's memory at its peak, in bytes.
const MOST_MEMORY: usize = 64 << 20;

/// The host's descriptors: a few for each worker, and its own.
const MOST_DESCRIPTORS: usize = 80;

/// The longest run, on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(120);

/// Good items before, between and after the lies.
const FILLERS: usize = 12;

/// The limits that some lies are over.
const OPTIONS: [&str; 6] = ["--timeout", "1500ms", "--max-result", "2MiB", "--invoke", "run"];

fn liar() -> PathBuf {
    let worker = binary().parent().expect("folder").join("examples/mock-worker");
    assert!(worker.exists(), "cargo test builds the examples");
    worker
}

/// What a run of the command came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A folder for runs with liars.
struct Den(tempfile::TempDir);

impl Den {
    fn new(function: &str, order: &str) -> Self {
        let den = Self(tempfile::tempdir().unwrap());
        let wat =
            format!(";;lie {order}\n(module (func (export \"{function}\") (param i32) (result i32) local.get 0))");
        std::fs::write(den.0.path().join("guest.wat"), wat).unwrap();
        den
    }

    /// Runs the command and checks what must hold whatever the lie is.
    #[track_caller]
    fn run(&self, line: &[&str]) -> Ran {
        let mut command = Command::new(liar());
        command.args(["run", "guest.wat"]).args(line).current_dir(self.0.path()).env_clear();
        command.env("WPOOL_CACHE_DIR", self.0.path().join("cache")).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (drained(child.stdout.take().unwrap()), drained(child.stderr.take().unwrap()));
        let code = watched(&mut child);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the host writes UTF-8");
        let ran = Ran { code, out: text(out.join().unwrap()), err: text(err.join().unwrap()) };
        for text in [&ran.out, &ran.err] {
            let raw = text.chars().find(|character| *character != '\n' && wpool::escape::is_unsafe(*character));
            assert_eq!(raw, None, "raw in the output");
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

fn drained(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Waits for the host, and for its workers to be gone; its exit code.
#[track_caller]
fn watched(child: &mut Child) -> Option<i32> {
    let (mut peak, mut descriptors, mut workers) = (0, 0, BTreeSet::new());
    let started = Instant::now();
    let code = loop {
        peak = peak.max(peak_memory(child.id()));
        if is_itself(child.id()) {
            let open = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
            descriptors = descriptors.max(open.map_or(0, Iterator::count));
        }
        workers.extend(children_of(child.id()).into_iter().filter_map(|pid| Some((pid, born(pid)?))));
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > MOST_TIME {
            child.kill().unwrap();
            panic!("the host hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(peak < MOST_MEMORY, "the host took {} MiB", peak >> 20);
    assert!(descriptors < MOST_DESCRIPTORS, "the host had {descriptors} descriptors");
    for (pid, birth) in workers {
        gone(pid, &birth);
    }
    code
}

/// When a process was started: tells it from a later one of the same number.
/// `None` when it is gone, or only waits to be reaped.
fn born(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[track_caller]
fn gone(pid: i32, birth: &str) {
    let started = Instant::now();
    while born(pid).as_deref() == Some(birth) {
        assert!(started.elapsed() < Duration::from_secs(5), "process {pid} is left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A record; what a liar may nest deeply is only looked at as text.
#[derive(Deserialize)]
struct Record<'a> {
    index: usize,
    kind: &'a str,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    wall_ms: f64,
    cpu_ms: f64,
    peak_memory: u64,
    fuel: Option<u64>,
}

/// Good items with the orders among them, and the places of the orders.
fn input(orders: &[&str]) -> (String, Vec<usize>) {
    let (mut items, mut places): (Vec<String>, Vec<usize>) = ((0..FILLERS).map(|at| at.to_string()).collect(), vec![]);
    for order in orders {
        places.push(items.len());
        items.push(format!("{order:?}"));
        for _filler in 0..FILLERS {
            items.push(items.len().to_string());
        }
    }
    (format!("[{}]", items.join(",")), places)
}

/// Each order ends as `KIND`, `KIND:REASON` or `ok:VALUE`; all others are right.
#[track_caller]
fn each_costs_at_most_itself(processes: &str, lies: &[(&str, &str)]) {
    each_costs_at_most_itself_with(&[], processes, lies);
}

/// The same with further options.
#[track_caller]
fn each_costs_at_most_itself_with(more: &[&str], processes: &str, lies: &[(&str, &str)]) {
    let orders: Vec<&str> = lies.iter().map(|(order, _)| *order).collect();
    let (items, places) = input(&orders);
    let den = Den::new("run", "");
    let options = ["--map", &items, "--output", "records", "-j", processes];
    let ran = den.run(&[&options[..], &OPTIONS[..], more].concat());
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), FILLERS + lies.len() * (FILLERS + 1), "{}", ran.err);
    let mut complaints = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(wpool::scan::check(line.as_bytes()), Ok(()), "line {index}");
        let record: Record<'_> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:.300}"));
        assert_eq!(record.index, index);
        assert!(record.wall_ms < 120_000.0 && record.cpu_ms < 240_000.0, "{line:.300}");
        assert!(record.peak_memory <= 512 << 20 && record.fuel.is_none(), "{line:.300}");
        let number = index.to_string();
        let lie = places.iter().position(|place| *place == index);
        let expected =
            lie.map_or(("ok", number.as_str()), |lie| lies[lie].1.split_once(':').unwrap_or((lies[lie].1, "")));
        if !is(&record, expected) {
            let name = lie.map_or_else(|| format!("item {index}"), |lie| lies[lie].0.to_owned());
            complaints.push(format!("{name}: {line:.300}"));
        }
    }
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), ran.err);
    let all_ok = lies.iter().all(|(_, kind)| kind.starts_with("ok"));
    assert_eq!(ran.code, Some(i32::from(!all_ok)), "{}", ran.err);
}

fn is(record: &Record<'_>, (kind, word): (&str, &str)) -> bool {
    if record.kind != kind {
        return false;
    }
    if kind == "ok" {
        return word.is_empty() || record.value.is_some_and(|value| value.get() == word);
    }
    let error = record.error.map_or("", |error| error.get());
    // Nothing that a liar says about a failure is long but its value.
    let short = error.len() < 6 * 4096 + 500 || error.contains("\"value\":[");
    let reason = format!("\"reason\":\"{word}\"");
    short && if word.is_empty() { !error.contains("\"reason\"") } else { error.contains(&reason) }
}

const PROTOCOL: &str = "worker-crashed:protocol";

#[test]
fn what_is_no_frame_costs_its_item() {
    each_costs_at_most_itself(
        "2",
        &[
            ("huge-frame", PROTOCOL),
            ("huge-unknown", PROTOCOL),
            ("unknown-flood", PROTOCOL),
            ("junk", PROTOCOL),
            ("idle-junk", PROTOCOL),
            ("ready", PROTOCOL),
            ("setup", PROTOCOL),
            ("task", PROTOCOL),
            ("run", PROTOCOL),
            ("refused", PROTOCOL),
            ("compiled", PROTOCOL),
            ("hello-again", PROTOCOL),
            ("unknown-kind", "ok:\"after an unknown frame\""),
        ],
    );
}

#[test]
fn answers_for_others_cost_their_item() {
    each_costs_at_most_itself(
        "2",
        &[
            ("wrong-ticket", PROTOCOL),
            ("zero-ticket", PROTOCOL),
            ("last-ticket", PROTOCOL),
            ("old-ticket", PROTOCOL),
            ("next-first", PROTOCOL),
            ("unasked-return", PROTOCOL),
            ("own-return", PROTOCOL),
            ("wrong-values", PROTOCOL),
            ("hides-and-lies", PROTOCOL),
            ("twice", "ok:1"),
            ("thrice", "ok:1"),
        ],
    );
}

#[test]
fn calls_of_shared_objects_that_are_none_cost_their_item() {
    // What it did with the objects cannot be undone: it is not tried again.
    const ONCE: &str = "worker-crashed:maybe-ran";
    each_costs_at_most_itself_with(
        &["--shared", "counter:c", "--shared", "event:e"],
        "2",
        &[
            ("call-junk", ONCE),
            ("call-empty", ONCE),
            ("call-other-ticket", ONCE),
            ("call-of-nothing", ONCE),
            ("call-of-another-kind", ONCE),
            ("call-twice", ONCE),
            ("call-deaf", ONCE),
            ("answer", ONCE),
            ("note-junk", ONCE),
            ("note-long", ONCE),
            ("note-other-ticket", ONCE),
            ("call-and-hang", "timeout"),
            ("call-and-done", "ok:1"),
            ("note-flood", "ok:1"),
        ],
    );
}

#[test]
fn calls_without_a_grant_cost_their_item() {
    each_costs_at_most_itself(
        "2",
        &[("call-of-nothing", PROTOCOL), ("call-twice", PROTOCOL), ("call-deaf", PROTOCOL), ("note-flood", "ok:1")],
    );
}

#[test]
fn reports_that_are_none_cost_their_item() {
    each_costs_at_most_itself(
        "2",
        &[
            ("short-report", PROTOCOL),
            ("odd-form", PROTOCOL),
            ("ok-failure", PROTOCOL),
            ("odd-kind", PROTOCOL),
            ("no-failure", PROTOCOL),
            ("large-tail", PROTOCOL),
            ("long-tails", PROTOCOL),
            ("many-frames", PROTOCOL),
            ("no-values", PROTOCOL),
            ("falling-marks", PROTOCOL),
            ("far-mark", PROTOCOL),
            ("unmarked-value", PROTOCOL),
            ("large-value", PROTOCOL),
            ("short-values", PROTOCOL),
            ("short-integer", PROTOCOL),
            ("uneven-integers", PROTOCOL),
            ("unmarked-integer", PROTOCOL),
            ("no-integers", PROTOCOL),
            ("odd-values", PROTOCOL),
            ("counted-values", PROTOCOL),
            ("over-limit", PROTOCOL),
        ],
    );
}

#[test]
fn lying_numbers_and_texts_are_cut_to_size() {
    each_costs_at_most_itself(
        "2",
        &[
            ("forged-time", "ok:1"),
            ("an-integer", "ok:1"),
            ("forged-values", "ok:1"),
            ("forged-failure-time", "trap"),
            ("loud-tails", "error"),
            ("long-message", "trap"),
            ("deep-detail", "error"),
            ("wide-detail", "error"),
        ],
    );
}

#[test]
fn values_beyond_what_is_in_the_worker_end_it() {
    for order in ["two-values", "many-values"] {
        let den = Den::new("run", "");
        let items = format!("[1,2,{order:?}]");
        let ran = den.run(&[&["--map", &items, "-j1", "--chunksize", "1"], &OPTIONS[..]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[1,2,1]\n"), "{order}: {}", ran.err);
    }
}

#[test]
fn no_result_can_leave_its_place() {
    let lies = [
        ("no-json", "so to say"),
        ("no-value", ""),
        ("two-jsons", "1,2"),
        ("end-of-array", "1]"),
        ("forged-line", "1\n{\"v\":1,\"index\":9,\"kind\":\"ok\",\"value\":1}"),
        ("forged-record", "1,\"index\":9,\"kind\":\"trap\""),
        ("no-utf8", "\"\u{fffd}\u{fffd}\""),
        ("no-utf8-text", "\u{fffd}\u{fffd}\u{1b}[2J"),
        ("raw-controls", "\"\u{1b}[2J\""),
        ("controls", "\u{7f}\u{9b}2J\u{202e}"),
    ];
    let orders: Vec<&str> = lies.iter().map(|(order, _)| *order).chain(["deep", "half-deep"]).collect();
    let (items, places) = input(&orders);
    for format in ["json", "jsonl", "records"] {
        let den = Den::new("run", "");
        let ran = den.run(&[&["--map", &items, "--output", format, "-j2"], &OPTIONS[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let values: Vec<&RawValue> = match format {
            "json" => serde_json::from_str(&ran.out).unwrap(),
            "jsonl" => ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            _ => ran.out.lines().map(|line| serde_json::from_str::<Record<'_>>(line).unwrap().value.unwrap()).collect(),
        };
        assert_eq!(values.len(), FILLERS + orders.len() * (FILLERS + 1), "{format}");
        for (index, value) in values.iter().enumerate() {
            match places.iter().position(|place| *place == index) {
                None => assert_eq!(value.get(), index.to_string(), "{format}"),
                Some(lie) if lie < lies.len() => {
                    let text: String =
                        serde_json::from_str(value.get()).unwrap_or_else(|error| panic!("{error}: {value}"));
                    assert_eq!(text, lies[lie].1, "{format}: {}", lies[lie].0);
                }
                Some(lie) => assert!(value.get().len() >= 100_000, "{format}: {}", orders[lie]),
            }
        }
    }
}

#[test]
fn stalls_and_lies_about_progress_are_timeouts() {
    each_costs_at_most_itself(
        "8",
        &[
            ("hang", "timeout"),
            ("stopped", "timeout"),
            ("half-frame", "timeout"),
            ("half-head", "timeout"),
            ("one-byte-a-second", "timeout"),
            ("hidden-trickle", "timeout"),
            ("flips", "timeout"),
            ("blinks", "timeout"),
            ("runs-ahead", "timeout"),
            ("runs-what-is-not-there", "timeout"),
            ("begun-all", "timeout"),
            ("begun-none", "timeout"),
        ],
    );
}

#[test]
fn deaths_cost_their_item_whatever_the_page_says() {
    each_costs_at_most_itself(
        "4",
        &[
            ("die", "worker-crashed"),
            ("die-first", "ok:\"die-first\""),
            ("exit", "worker-crashed"),
            ("forbidden", "worker-crashed:sandbox-violation"),
            ("closed", "worker-crashed"),
            ("half-sent", "worker-crashed"),
            ("half-closed", "worker-crashed"),
            ("idle-death", "worker-crashed"),
            ("hides-and-dies", "worker-crashed"),
            ("blames-and-dies", "worker-crashed"),
            ("printed-all", "worker-crashed"),
        ],
    );
}

#[test]
fn descriptors_of_a_worker_stay_with_it() {
    each_costs_at_most_itself("4", &[("descriptors", "ok:1"); 8]);
}

#[test]
fn what_a_worker_started_goes_with_it() {
    for (order, kind) in [("leaves-child", "timeout"), ("leaves-talker", "worker-crashed"), ("stays", "timeout")] {
        let den = Den::new("run", "");
        let file = den.0.path().join("pid");
        let items = format!("[1,\"{order} {}\",3]", file.display());
        let ran = den.run(&[&["--map", &items, "--output", "records", "-j1"], &OPTIONS[..]].concat());
        let records: Vec<Record<'_>> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 3, "{order}: {}", ran.err);
        assert!(is(&records[0], ("ok", "1")) && is(&records[2], ("ok", "3")), "{order}: {}", ran.out);
        assert!(["timeout", "worker-crashed"].contains(&records[1].kind), "{order} is no {kind}: {}", ran.out);
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        gone(pid, &born(pid).unwrap_or_default());
    }
}

#[test]
fn a_run_with_lies_at_the_start_ends_with_its_code() {
    for (function, message) in [
        ("other-version", "protocol"),
        ("silent-start", "last words"),
        ("loud-start", "workers keep dying"),
        ("no-hello", "workers keep dying"),
        ("wrong-hello", "workers keep dying"),
        ("huge-hello", "workers keep dying"),
    ] {
        let ran = Den::new(function, "").run(&["--map", "[1,2,3]", "--invoke", function, "-j2"]);
        assert_eq!(ran.code, Some(4), "{function}: {}", ran.err);
        assert!(ran.err.contains(message), "{function}: {}", ran.err);
    }
    let ran = Den::new("loud-layers", "").run(&["--map", "[1]", "--invoke", "loud-layers", "-j1", "-v"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[1]\n"), "{}", ran.err);
}

#[test]
fn a_worker_that_lies_about_a_snapshot_ends_the_run() {
    for (initializer, code) in [
        ("other-ticket", 4),
        ("no-report", 4),
        ("no-module", 4),
        ("nothing", 4),
        ("endless", 4),
        ("dies", 3),
        ("mute", 3),
    ] {
        let den = Den(tempfile::tempdir().unwrap());
        let wat = format!(
            "(module (func (export \"{initializer}\")) (func (export \"run\") (param i32) (result i32) local.get 0))"
        );
        std::fs::write(den.0.path().join("guest.wat"), wat).unwrap();
        let line = ["--initializer", initializer, "--map", "[1]", "--invoke", "run", "-j1", "--timeout", "1500ms"];
        let bounds = ["--compile-timeout", "20s", "--memory", "16MiB", "--max-module", "1MiB"];
        for _again in 0..2 {
            let ran = den.run(&[&line[..], &bounds].concat());
            assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{initializer}: {}", ran.err);
        }
    }
}

#[test]
fn a_compile_worker_that_lies_ends_the_run() {
    for (order, code) in [
        ("", 0),
        ("empty", 4),
        ("kind", 4),
        ("nonsense", 4),
        ("deep", 4),
        ("huge", 4),
        ("stall", 3),
        ("large", 4),
        ("loud-refusal", 3),
        ("loud-names", 3),
    ] {
        let den = Den::new("run", order);
        let ran = den.run(&["--map", "[1]", "--invoke", "run", "-j1", "--compile-timeout", "2s"]);
        assert_eq!(ran.code, Some(code), "{order}: {}", ran.err);
        // And nothing of it is kept.
        assert_eq!(den.run(&["--map", "[1]", "--invoke", "run", "-j1", "--compile-timeout", "2s"]).code, Some(code));
    }
}
