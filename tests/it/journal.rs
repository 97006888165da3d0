//! `--journal`, `--resume` and `--failed`: runs that ended early, taken up
//! again through the real binary.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Bench, Ran};

/// Runs that are killed before one is left alone; more by this variable.
const KILLS: (&str, u64) = ("WPOOL_TEST_KILLS", 20);

fn fixture(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

/// The records of a journal or of a file of failures, its first line left
/// out.
fn records(bench: &Bench, name: &str) -> Vec<Value> {
    let text = bench.read(name);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["run"].is_null()).collect()
}

fn indices(records: &[Value], kind: &str) -> Vec<u64> {
    let of_kind = records.iter().filter(|record| record["kind"] == kind);
    let mut found: Vec<u64> = of_kind.map(|record| record["index"].as_u64().unwrap()).collect();
    found.sort_unstable();
    found
}

#[track_caller]
fn ended(ran: &Ran, code: i32) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
}

/// How often each item has run.
fn marks(bench: &Bench) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(bench.path("marks")).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

/// Kills a run when its journal has so many more outcomes than before; `None`
/// where it ended first, else how many more it had.
fn kill_after(bench: &Bench, line: &[&str], more: u64) -> Option<u64> {
    let mut journal = Lines::default();
    journal.read(&bench.path("j"));
    let before = journal.count;
    let mut host = bench.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The first line of all is no outcome.
    while journal.count.max(1) - before.max(1) < more && host.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(500));
        journal.read(&bench.path("j"));
    }
    host.kill().unwrap();
    let killed = host.wait().unwrap().code().is_none();
    // Workers end with their host, but not before it.
    std::thread::sleep(Duration::from_millis(50));
    killed.then(|| journal.count.max(1) - before.max(1))
}

/// Lines of a file that grows.
#[derive(Default)]
struct Lines {
    count: u64,
    read: u64,
}

impl Lines {
    fn read(&mut self, path: &Path) {
        let Ok(mut file) = std::fs::File::open(path) else { return };
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut bytes = Vec::new();
        self.read += file.read_to_end(&mut bytes).unwrap() as u64;
        self.count += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}

#[test]
fn runs_killed_in_the_middle_of_work_are_resumed_to_the_same_output() {
    /// Each takes 2 ms on one of two workers.
    const ITEMS: u64 = 3000;
    let bench = Bench::new();
    let (mark, seed) = (fixture("mark.wat"), u64::from(std::process::id()));
    let kills = std::env::var(KILLS.0).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS.1);
    let names: Vec<String> = (0..ITEMS).map(|item| format!("i{item}")).collect();
    std::fs::write(bench.path("items.json"), serde_json::to_string(&names).unwrap()).unwrap();
    std::fs::create_dir(bench.path("marks")).unwrap();
    let line = ["run", &mark, "--map", "items.json", "--dir", "marks::rw", "--invoke", "slowly"];
    let line = [&line[..], &["--result", "text", "-j", "2", "-o", "out.json", "--journal", "j", "--resume"]].concat();
    let mut random = seed;
    // What each item had run when the journal first said that it is ok.
    let mut done: BTreeMap<u64, u64> = BTreeMap::new();
    let mut in_the_middle = 0;
    for _ in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // At 0 it may not have begun; the rest is within its share of the work.
        let more = (random >> 33) % (ITEMS / 3 / kills.max(1)).max(1);
        let killed = kill_after(&bench, &line, more);
        in_the_middle += u64::from(killed.is_some_and(|grown| grown > 0));
        if !bench.path("j").exists() {
            continue;
        }
        let marks = marks(&bench);
        for index in indices(&records(&bench, "j"), "ok") {
            let marked = marks[&format!("i{index}")];
            assert_eq!(*done.entry(index).or_insert(marked), marked, "item {index} ran again (seed {seed})");
        }
    }
    let before = done.len();
    crate::support::told(&format!(
        "journal: {in_the_middle} of {kills} kills between the first new outcome and the end, {before} of {ITEMS} \
         items done by then (seed {seed})"
    ));
    assert!(in_the_middle * 4 >= kills * 3, "{in_the_middle} of {kills} kills in the middle (seed {seed})");
    assert!(before > 0 && before < ITEMS as usize, "{before} items were done before the last run (seed {seed})");
    ended(&bench.run(&line), 0);
    assert_eq!(bench.read("out.json"), format!("{}\n", serde_json::to_string(&names).unwrap()), "seed {seed}");
    let marks = marks(&bench);
    for (index, marked) in done {
        assert_eq!(marks[&format!("i{index}")], marked, "item {index} ran again (seed {seed})");
    }
    assert_eq!(indices(&records(&bench, "j"), "ok"), (0..ITEMS).collect::<Vec<_>>(), "each once (seed {seed})");
    // What an undisturbed run puts out.
    let undisturbed = line.iter().map(|word| if *word == "out.json" { "undisturbed.json" } else { word });
    let undisturbed: Vec<&str> = undisturbed.filter(|word| !matches!(*word, "--journal" | "j" | "--resume")).collect();
    ended(&bench.run(&undisturbed), 0);
    assert_eq!(bench.read("out.json"), bench.read("undisturbed.json"), "seed {seed}");
}

#[test]
fn a_journal_without_an_outcome_is_begun_anew() {
    let bench = Bench::new();
    let line = ["run", "square.wat", "--map", "[1,2]", "--journal", "j"];
    // It fails after the journal is begun, and before its first item.
    let failed = bench.run(&[&line[..], &["-o", "no/such/folder/x", "--output", "json"]].concat());
    ended(&failed, 4);
    assert!(bench.path("j").exists() && records(&bench, "j").is_empty(), "{failed:?}");
    let begun = bench.read("j");
    ended(&bench.run(&line), 0);
    assert_eq!(indices(&records(&bench, "j"), "ok"), [0, 1]);
    ended(&bench.run(&line), 2);
    // Of another run, with a record that was begun: neither is worth a refusal.
    for (rest, resume) in [("", &[][..]), ("{\"v\":1,\"ind", &[]), ("{\"v\":1,\"ind", &["--resume"])] {
        std::fs::write(bench.path("j"), format!("{begun}{rest}")).unwrap();
        let other = [&["run", "square.wat", "--map", "[3]", "--env", "A=b", "--journal", "j"], resume].concat();
        let ran = bench.run(&other);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{ran:?}");
        assert_eq!(indices(&records(&bench, "j"), "ok"), [0]);
        ended(&bench.run(&[&other[..], &["--resume"][..resume.len() ^ 1]].concat()), 0);
        assert_eq!(indices(&records(&bench, "j"), "ok"), [0], "it was taken up");
    }
}

#[test]
fn a_journal_has_outcomes_as_they_finish() {
    let bench = Bench::new();
    // The first never ends; its results cannot be written before it does.
    let line = ["run", "square.wat", "--map", "[99,1,2,3]", "-j", "2", "--chunksize", "1", "--journal", "j"];
    let mut host = bench.command(&line).spawn().unwrap();
    for _ in 0..1000 {
        if bench.path("j").exists() && indices(&records(&bench, "j"), "ok").len() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    host.kill().unwrap();
    host.wait().unwrap();
    assert_eq!(indices(&records(&bench, "j"), "ok"), [1, 2, 3]);
}

#[test]
fn other_limits_and_workers_resume_and_run_only_what_failed() {
    let bench = Bench::new();
    let spin = fixture("sleep.wat");
    let line = ["run", &spin, "--map", "[1,400,2]", "--journal", "j"];
    let first = bench.run(&[&line[..], &["--timeout", "150ms"]].concat());
    ended(&first, 1);
    assert!(first.err.contains("item 1: timeout"), "{first:?}");
    let again = bench.run(&[&line[..], &["--resume", "-j", "1", "--timeout", "20s"]].concat());
    ended(&again, 0);
    assert_eq!(again.out, bench.run(&line[..4]).out);
    let kinds: Vec<_> = records(&bench, "j").iter().map(|record| record["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!((kinds.len(), kinds.iter().filter(|kind| *kind == "ok").count()), (4, 3), "{kinds:?}");
    assert_eq!(kinds[3], "ok");
}

#[test]
fn another_run_is_not_resumed() {
    let bench = Bench::new();
    let journal = ["--journal", "j"];
    ended(&bench.run(&[&["run", "square.wat", "--map", "[1,2]"], &journal[..]].concat()), 0);
    let refused = |line: &[&str], why: &str| {
        let ran = bench.run(&[line, &journal[..]].concat());
        ended(&ran, 2);
        assert!(ran.out.is_empty() && ran.err.contains(why), "{why}: {ran:?}");
    };
    refused(&["run", "square.wat", "--map", "[1,2]"], "--resume takes that run up");
    let source = bench.read("square.wat");
    std::fs::write(bench.path("square.wat"), format!("{source};; changed")).unwrap();
    refused(&["run", "square.wat", "--map", "[1,2]", "--resume"], "--resume=any-module");
    ended(&bench.run(&["run", "square.wat", "--map", "[1,2]", "--resume=any-module", "--journal", "j"]), 0);
    std::fs::write(bench.path("square.wat"), &source).unwrap();
    refused(&["run", "square.wat", "--map", "[1,2]", "--resume", "--env", "A=b"], "other options: capabilities");
    refused(&["run", "square.wat", "--starmap", "[[1]]", "--resume"], "other options: spread");
    let other = source.replace("(export \"square\")", "(export \"square\") (export \"other\")");
    std::fs::write(bench.path("square.wat"), other).unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "[1]", "--invoke", "other", "--resume", "--journal", "j"]);
    ended(&ran, 2);
    assert!(ran.err.contains("another function (\"square\", now \"other\")"), "{ran:?}");
    std::fs::write(bench.path("text"), "some text\n").unwrap();
    for line in [&["--journal", "text"][..], &["--journal", "text", "--resume"]] {
        let run = ["run", "square.wat", "--map", "[1]", "--invoke", "square"];
        ended(&bench.run(&[&run[..], line].concat()), 2);
        assert_eq!(bench.read("text"), "some text\n", "what is no journal is left alone");
    }
    ended(&bench.run(&["run", "square.wat", "--map", "[1]", "--resume"]), 2);
}

#[test]
fn items_keep_their_results_when_others_come_before_them() {
    let bench = Bench::new();
    let mark = fixture("mark.wat");
    std::fs::create_dir(bench.path("marks")).unwrap();
    let run = |items: &str| {
        let dir = ["--dir", "marks::rw", "--result", "text", "--journal", "j", "--resume"];
        let ran = bench.run(&[&["run", &mark, "--map", items], &dir[..]].concat());
        ended(&ran, 0);
        assert_eq!(ran.out.trim(), items);
    };
    run(r#"["a","b","a"]"#);
    run(r#"["new","b","a","a","a"]"#);
    let expected = [("a", 3), ("b", 1), ("new", 1)].map(|(name, times)| (name.to_owned(), times));
    assert_eq!(marks(&bench), BTreeMap::from(expected));
}

#[test]
fn what_a_killed_run_began_to_write_is_dropped() {
    let bench = Bench::new();
    let line = ["run", "square.wat", "--map", "[1,13,3]", "--journal", "j", "--resume"];
    ended(&bench.run(&line), 1);
    let whole = bench.read("j");
    for cut in [1, 40, whole.len() - whole.find('\n').unwrap() - 1, whole.len() - 10, whole.len() - 1, whole.len()] {
        std::fs::write(bench.path("j"), &whole[..whole.len() - cut]).unwrap();
        let ran = bench.run(&line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), "[1,null,9]\n"), "{cut} bytes less: {ran:?}");
        assert_eq!(indices(&records(&bench, "j"), "ok"), [0, 2], "{cut} bytes less");
    }
    // A line that cannot be read in the middle is nothing to guess about.
    std::fs::write(bench.path("j"), whole.replace("\"kind\":\"trap\"", "\"kind\":tr")).unwrap();
    let ran = bench.run(&line);
    ended(&ran, 4);
    assert!(ran.err.contains("the journal j: byte"), "{ran:?}");
}

#[test]
fn values_of_every_form_come_back_as_they_were() {
    let bench = Bench::new();
    let (cat, echo) = (fixture("cat.wat"), fixture("echo.wat"));
    let items = r#"["plain","two\nlines","\u0007\u202e\"quoted\" \\","",{"a":[1,2.50]}]"#;
    let bytes = [&echo, "--result", "bytes"];
    for (number, (guest, output)) in
        [(&[cat.as_str()][..], "raw"), (&[cat.as_str()], "json"), (&bytes[..], "raw"), (&bytes, "jsonl")]
            .map(|(guest, output)| (guest.iter().map(|word| word as &dyn AsRef<str>).collect::<Vec<_>>(), output))
            .into_iter()
            .enumerate()
    {
        let guest: Vec<&str> = guest.into_iter().map(AsRef::as_ref).collect();
        let journal = format!("j{number}");
        let line = [&["run"], &guest[..], &["--map", items, "--output", output]].concat();
        let undisturbed = bench.run(&line);
        let journalled = [&line[..], &["--journal", &journal, "--resume"]].concat();
        ended(&undisturbed, 0);
        for _ in 0..2 {
            assert_eq!(bench.run(&journalled).out, undisturbed.out, "{line:?}");
        }
        assert_eq!(records(&bench, &journal).len(), 5, "nothing ran twice: {line:?}");
    }
}

#[test]
fn records_and_files_of_items_come_back_too() {
    let bench = Bench::new();
    let line = ["run", "square.wat", "--map", "[2,13,3]", "--journal", "j", "--resume"];
    let first = bench.run(&[&line[..], &["--output", "records"]].concat());
    let again = bench.run(&[&line[..], &["--output", "records"]].concat());
    let ok = |ran: &Ran| ran.out.lines().filter(|line| line.contains("\"ok\"")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((ok(&again), ok(&again).len()), (ok(&first), 2), "times and workers included");
    std::fs::remove_file(bench.path("j")).unwrap();
    for _ in 0..2 {
        ended(&bench.run(&[&line[..], &["-o", "out/{index}"]].concat()), 1);
        assert_eq!((bench.read("out/0").as_str(), bench.read("out/2").as_str()), ("4", "9"));
        std::fs::remove_file(bench.path("out/0")).unwrap();
    }
}

#[test]
fn a_journal_is_written_by_one_run_and_an_error_ends_it() {
    let bench = Bench::new();
    let line = ["run", "square.wat", "--map", "[1,99]", "--journal", "j"];
    let mut host = bench.command(&line).spawn().unwrap();
    while !bench.path("j").exists() || bench.read("j").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = bench.run(&["run", "square.wat", "--map", "[1]", "--journal", "j", "--resume"]);
    ended(&second, 4);
    assert!(second.err.contains("cannot open the journal j: another run is writing it"), "{second:?}");
    host.kill().unwrap();
    host.wait().unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "[1]", "--journal", "/dev/full"]);
    ended(&ran, 4);
    assert!(ran.err.contains("the journal /dev/full: it is no regular file"), "{ran:?}");
    // A file that may not grow, as on a full disk.
    let wpool = bench.command(&[]).get_program().to_owned();
    let script = r#"ulimit -f 5000; exec "$0" run square.wat --imap - --journal k"#;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).arg(wpool).current_dir(bench.path("")).env_clear();
    shell
        .env("WPOOL_CACHE_DIR", bench.path("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut host = shell.spawn().unwrap();
    let mut input = host.stdin.take().unwrap();
    // Until the host is gone.
    while input.write_all(b"1\n2\n3\n").is_ok() {}
    let ran = Ran::from(host.wait_with_output().unwrap());
    ended(&ran, 4);
    assert!(ran.err.contains("cannot write the journal k"), "{ran:?}");
}

#[test]
fn no_two_things_are_written_to_one_file() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("j", bench.path("link")).unwrap();
    ended(&bench.run(&["run", "square.wat", "--map", "[1]", "--journal", "j"]), 0);
    let journal = bench.read("j");
    for (files, named) in [
        (["--journal", "j", "-o", "j"], "--journal and -o"),
        (["--journal", "j", "--failed", "./j"], "--journal and --failed"),
        (["--journal", "link", "--stats-file", "j"], "--journal and --stats-file"),
        (["-o", "new", "--failed", "new"], "-o and --failed"),
        (["--failed", "link", "--stats-file", "link"], "--failed and --stats-file"),
    ] {
        let line = ["run", "square.wat", "--map", "[1,2]", "--resume"];
        let line = if files[0] == "--journal" { &line[..] } else { &line[..4] };
        let ran = bench.run(&[line, &files].concat());
        ended(&ran, 2);
        assert!(ran.err.contains(named), "{files:?}: {ran:?}");
        assert_eq!(bench.read("j"), journal, "{files:?}");
    }
    // What is no file is no loss.
    let null = ["run", "square.wat", "--map", "[1]", "-o", "/dev/null", "--stats-file", "/dev/null"];
    ended(&bench.run(&null), 0);
}

#[test]
fn failed_items_are_written_and_run_again() {
    let bench = Bench::new();
    let ran = bench.run(&["run", "square.wat", "--map", "[2,13,3,\"x\"]", "--failed", "failed"]);
    ended(&ran, 1);
    let failed = records(&bench, "failed");
    assert_eq!((failed[0]["item"].clone(), failed[1]["item"].clone(), failed.len()), (13.into(), "x".into(), 2));
    // The file that is read may be the one that is written.
    let line =
        ["run", "square.wat", "--input", "records", "--imap", "failed", "--failed", "failed", "--output", "records"];
    let again = bench.run(&line);
    ended(&again, 1);
    assert_eq!(indices(&records(&bench, "failed"), "trap"), [1]);
    assert!(again.out.contains("\"index\":3,\"kind\":\"bad-input\""), "{again:?}");
    // Too large to be read: there is no item that could be run again.
    std::fs::write(bench.path("lines.txt"), format!("{}\n7\n", "1".repeat(3000))).unwrap();
    let large = ["--imap", "lines.txt", "--max-item", "1KiB", "--failed", "large"];
    ended(&bench.run(&[&["run", "square.wat"], &large[..]].concat()), 1);
    let again = bench.run(&["run", "square.wat", "--input", "records", "--imap", "large"]);
    ended(&again, 1);
    assert!(again.err.contains("item 0 (lines.txt:1): bad-input"), "{again:?}");
}

#[test]
fn an_interrupted_run_does_not_replace_the_failures() {
    let bench = Bench::new();
    std::fs::write(bench.path("failed"), "what failed before\n").unwrap();
    let line = ["run", "square.wat", "--imap", "[13,99]", "-j", "1", "--failed", "failed", "--grace", "0s"];
    let mut host = bench.command(&line).spawn().unwrap();
    while !bench.path("failed.part").exists() || bench.read("failed.part").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&host);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = Ran::from({
        host.stdin.take();
        host.wait_with_output().unwrap()
    });
    ended(&ran, 130);
    assert_eq!(bench.read("failed"), "what failed before\n");
    assert!(ran.err.contains("failed.part\n"), "{ran:?}");
}
