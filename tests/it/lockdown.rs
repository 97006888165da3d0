//! The lock-down, tried from inside: a worker that is locked down as every
//! worker is makes system calls, and lives or dies as it should.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wpool::capabilities::{Access, DirGrant};
use wpool::error::Error;
use wpool::limits::SandboxMode;
use wpool::outcome::{Kind, Outcome};
use wpool::pool::compile::{CompileOptions, prepare};
use wpool::pool::item::{Connection, Item};
use wpool::pool::module::Module;
use wpool::pool::{MapOptions, Pool, PoolOptions};
use wpool::sandbox::seccomp::table::{Call, Test};
use wpool::sandbox::seccomp::{Arch, Files, Net, Profile};
use wpool::wire::message::{Abi, TaskSpec};

use crate::command::Bench;
use crate::support::{binary, children_of, item, options, spec, work};

const ANY: &str = r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#;

/// Calls that the kernel does not show to filters: they are for its own
/// trampolines, and end whoever else makes them, or do nothing.
const UNFILTERED: [i64; 2] = [335, 336];

/// Past the last system call of any kernel so far.
const CALLS: i64 = 480;

pub fn probe() -> PathBuf {
    let worker = binary().parent().expect("folder").join("examples/probe-worker");
    assert!(worker.exists(), "cargo test builds the examples");
    worker
}

fn start(spec: TaskSpec, processes: usize) -> Pool {
    Pool::start(work(ANY, spec), PoolOptions { worker: probe(), ..options(processes) }).expect("pool")
}

pub fn tried_with(spec: TaskSpec, orders: &[String]) -> Vec<Outcome> {
    let connections = spec.capabilities.connections;
    let pool = start(spec, 8);
    let items = (0..).zip(orders.to_vec()).map(move |(index, order)| match connections {
        true => connected(item(index, order)),
        false => item(index, order),
    });
    pool.outcomes(items, MapOptions::default()).expect("job").collect()
}

/// The item with a client who has gone already.
fn connected(mut item: Item) -> Item {
    let (ours, _theirs) = UnixStream::pair().expect("sockets");
    item.body.as_mut().expect("bytes").connection = Some(Connection::new(ours.into()));
    item
}

fn tried(orders: &[String]) -> Vec<Outcome> {
    tried_with(spec(Abi::Core, "run"), orders)
}

/// What a call gave back; a negative number is an error.
pub fn value(outcome: &Outcome) -> i64 {
    let value = outcome.result.as_ref().unwrap_or_else(|failure| panic!("{failure:?}"));
    std::str::from_utf8(&value.bytes).unwrap().parse().unwrap()
}

pub fn is_dead(outcome: &Outcome) -> bool {
    let failure = outcome.result.as_ref().err();
    failure.is_some_and(|failure| {
        failure.kind == Kind::WorkerCrashed
            && failure.detail.reason.as_deref() == Some("sandbox-violation")
            && failure.detail.signal == Some(libc::SIGSYS)
    })
}

pub fn order(number: i64, arguments: [i64; 6]) -> String {
    let numbers: Vec<String> = [number].iter().chain(&arguments).map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// The calls of the workers under test, by number.
pub fn allowed(files: Files, net: Net) -> BTreeMap<i64, &'static Call> {
    let arch = Arch::native().expect("a filter for this machine");
    Profile::Run(files, net).calls().filter_map(|call| Some((arch.number(call)?, call))).collect()
}

/// Every number that is not in the table.
pub fn all_others(files: Files, net: Net) -> Vec<i64> {
    let allowed = allowed(files, net);
    (0..CALLS).filter(|number| !allowed.contains_key(number) && !UNFILTERED.contains(number)).collect()
}

/// The same, tried by the real worker.
pub fn all_others_are_dead(spec: TaskSpec, files: Files, net: Net) {
    let numbers = all_others(files, net);
    let orders: Vec<String> = numbers.iter().map(|number| order(*number, [0; 6])).collect();
    for (number, outcome) in numbers.iter().zip(tried_with(spec, &orders)) {
        assert!(is_dead(&outcome), "system call {number}: {:?}", outcome.result);
    }
}

#[test]
fn every_system_call_that_is_not_listed_is_death() {
    all_others_are_dead(spec(Abi::Core, "run"), Files::None, Net::None);
}

#[test]
fn granted_directories_allow_no_other_calls() {
    let folder = tempfile::tempdir().unwrap();
    all_others_are_dead(granting(folder.path(), Access::ReadWrite), Files::Write, Net::None);
}

#[test]
fn every_listed_system_call_is_allowed() {
    all_listed_are_allowed(spec(Abi::Core, "run"), Net::None);
}

/// Every call in the table, made with arguments that do nothing.
pub fn all_listed_are_allowed(mut spec: TaskSpec, net: Net) {
    // These end the worker as they are meant to.
    const LAST: [&str; 3] = ["exit", "exit_group", "rt_sigreturn"];
    let calls: Vec<(i64, &Call)> = allowed(Files::None, net).into_iter().collect();
    let orders: Vec<String> = calls
        .iter()
        .map(|(number, call)| {
            // Arguments that make no sense, so that nothing happens.
            let mut arguments = [-1; 6];
            for test in call.forms.first().copied().unwrap_or_default() {
                match *test {
                    Test::Is(argument, number) => arguments[usize::from(argument)] = number.into(),
                    Test::Lacks(argument, bits) => arguments[usize::from(argument)] = (!bits).into(),
                    Test::IsBut { argument, is, .. } => arguments[usize::from(argument)] = is.into(),
                    // The worker's own is not known here.
                    Test::IsOwnPid(_) => return "\"panic\"".to_owned(),
                }
            }
            order(*number, arguments)
        })
        .collect();
    // A thread that exits leaves a worker that never answers.
    spec.limits.timeout = Some(Duration::from_secs(1));
    for ((_, call), outcome) in calls.iter().zip(tried_with(spec, &orders)) {
        assert!(!is_dead(&outcome), "{}: {:?}", call.name, outcome.result);
        let lives = outcome.kind() == Kind::Ok;
        assert_eq!(lives, !LAST.contains(&call.name), "{}: {:?}", call.name, outcome.result);
    }
}

#[test]
fn listed_system_calls_with_other_arguments_are_death() {
    let number = |name: &str| {
        let found = allowed(Files::None, Net::None).into_iter().find(|(_, call)| call.name == name);
        found.expect("listed").0
    };
    let (mmap, mprotect, futex, tgkill) = (number("mmap"), number("mprotect"), number("futex"), number("tgkill"));
    let orders = [
        // Executable memory: new, and by a change.
        order(mmap, [0, 4096, 7, 0x22, -1, 0]),
        order(mmap, [0, 4096, 5, 0x22, -1, 0]),
        order(mprotect, [0x1000, 4096, 5, 0, 0, 0]),
        // A lock that inherits priority; one that is requeued.
        order(futex, [0, 6, 0, 0, 0, 0]),
        order(futex, [0, 3, 0, 0, 0, 0]),
        // A signal to the host, to process 1, and to a thread of ours that is
        // no abort.
        order(tgkill, [i64::from(std::process::id()), i64::from(std::process::id()), 6, 0, 0, 0]),
        order(tgkill, [1, 1, 6, 0, 0, 0]),
        // Typing into a terminal.
        order(number("ioctl"), [0, 0x5412, 0, 0, 0, 0]),
        // Sending somewhere else.
        order(number("sendto"), [0, 0, 0, 0, 4096, 16]),
        // Pages that are not simply given back.
        order(number("madvise"), [0, 4096, 12, 0, 0, 0]),
    ];
    for (order, outcome) in orders.iter().zip(tried(&orders)) {
        assert!(is_dead(&outcome), "{order}: {:?}", outcome.result);
    }
}

#[test]
fn descriptors_get_no_owner_to_signal_whatever_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let spec = granting(folder.path(), Access::ReadWrite);
    let fcntl = allowed(Files::Write, Net::None).into_iter().find(|(_, call)| call.name == "fcntl").expect("listed").0;
    let host = i64::from(std::process::id());
    // An owner, of the older and the newer way; its signal; a lease; news of a
    // directory; a pipe's size; seals.
    let dead = [[8, host], [15, 4096], [10, 9], [1024, 1], [1026, 1], [1031, 1 << 20], [1033, 8]];
    let orders = dead.map(|[command, value]| order(fcntl, [0, command, value, 0, 0, 0]));
    for (order, outcome) in orders.iter().zip(tried_with(spec, &orders)) {
        assert!(is_dead(&outcome), "{order}: {:?}", outcome.result);
    }
}

#[test]
fn starting_connecting_and_opening_are_death() {
    let orders = ["spawn", "thread", "connect", "read /etc/passwd", "read /proc/self/environ", "write /tmp/x"];
    let orders = orders.map(|order| format!("\"{order}\""));
    for (order, outcome) in orders.iter().zip(tried(&orders)) {
        assert!(is_dead(&outcome), "{order}: {:?}", outcome.result);
    }
}

#[test]
fn programs_of_another_architecture_make_no_calls() {
    let outcomes = tried(&["\"i386\"".to_owned(), "\"panic\"".to_owned()]);
    assert_eq!(outcomes[0].kind(), Kind::WorkerCrashed, "{:?}", outcomes[0].result);
    assert_eq!(outcomes[1].kind(), Kind::Ok);
}

#[test]
fn aborts_and_overflows_show_as_what_they_are() {
    let orders = ["abort", "panic", "overflow", "heap"].map(|order| format!("\"{order}\""));
    let outcomes = tried(&orders);
    let signal = |outcome: &Outcome| outcome.result.as_ref().err().and_then(|failure| failure.detail.signal);
    assert_eq!(signal(&outcomes[0]), Some(libc::SIGABRT), "{:?}", outcomes[0].result);
    assert_eq!(outcomes[1].kind(), Kind::Ok, "a caught panic: {:?}", outcomes[1].result);
    assert_eq!(signal(&outcomes[2]), Some(libc::SIGABRT), "{:?}", outcomes[2].result);
    assert_eq!(outcomes[3].kind(), Kind::Ok, "memory given back: {:?}", outcomes[3].result);
}

#[test]
fn a_worker_that_was_stopped_in_its_sleep_sleeps_on() {
    use rustix::process::{Pid, Signal, kill_process};
    let pool = start(spec(Abi::Core, "run"), 1);
    pool.wait_ready().expect("a worker");
    let worker = Pid::from_raw(pool.worker_pids()[0]).expect("a process");
    let outcomes = pool.outcomes([item(0, "\"sleep\"")], MapOptions::default()).expect("job");
    for signal in [Signal::STOP, Signal::CONT] {
        std::thread::sleep(Duration::from_millis(100));
        kill_process(worker, signal).expect("it is there");
    }
    let outcomes: Vec<_> = outcomes.collect();
    assert_eq!(outcomes[0].kind(), Kind::Ok, "{:?}", outcomes[0].result);
    assert_eq!(pool.worker_pids(), [worker.as_raw_nonzero().get()]);
}

fn granting(folder: &Path, access: Access) -> TaskSpec {
    let mut spec = spec(Abi::Core, "run");
    spec.capabilities.dirs.push(DirGrant { host: folder.to_owned(), guest: "/data".to_owned(), access });
    spec
}

/// Whether workers cannot have a layer on this system.
pub fn lacks(layer: &str) -> bool {
    !layers(&doctor(None).1, "applied").iter().any(|name| name == layer)
}

#[test]
fn native_code_reaches_no_file_beside_those_granted() {
    if lacks("landlock-files") {
        return crate::support::skipped("this system has no landlock");
    }
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for place in [&folder, &other] {
        std::fs::write(place.path().join("file"), "text").unwrap();
    }
    let (inside, outside) = (folder.path().display(), other.path().display());
    let orders = [
        format!("\"read {inside}/file\""),
        format!("\"read {outside}/file\""),
        format!("\"read {inside}/../{}/file\"", other.path().file_name().unwrap().display()),
        "\"read /etc/passwd\"".to_owned(),
        "\"read /proc/self/environ\"".to_owned(),
        "\"read /proc/self/mem\"".to_owned(),
        "\"read /proc/1/status\"".to_owned(),
        "\"read /dev/null\"".to_owned(),
        "\"read /\"".to_owned(),
        format!("\"write {inside}/new\""),
        format!("\"write {outside}/new\""),
        "\"write /new\"".to_owned(),
    ];
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let results: Vec<i64> = tried_with(granting(folder.path(), access), &orders).iter().map(value).collect();
        assert!(results[0] > 2, "{results:?}");
        assert!(results[1..9].iter().all(|result| *result < 0), "{results:?}");
        assert_eq!(results[9] > 2, access == Access::ReadWrite, "{results:?}");
        assert!(results[10..].iter().all(|result| *result < 0), "{results:?}");
        assert_eq!(folder.path().join("new").exists(), access == Access::ReadWrite);
    }
}

/// What the compile worker of a stand-in says to an order.
fn compiling(order: &str) -> Error {
    let options = CompileOptions { worker: Some(probe()), ..CompileOptions::default() };
    let module = Module::from_bytes("order", format!("(module) ;; {order}")).expect("text");
    prepare(&module, &options, &mut |_| {}).expect_err("a stand-in compiles nothing")
}

#[test]
fn compile_workers_stand_behind_the_same_walls() {
    for deed in ["spawn", "thread", "connect", "read /etc/passwd", "write /tmp/x"] {
        let error = compiling(&format!("\"{deed}\""));
        assert!(error.to_string().contains("the sandbox stopped the compile worker"), "{deed}: {error}");
    }
    let error = compiling("\"panic\"");
    assert!(matches!(&error, Error::Module(text) if text == "true"), "{error}");
    let error = compiling("\"heaps\"");
    assert!(matches!(&error, Error::Module(text) if text.parse::<usize>().is_ok()), "{error}");
}

#[test]
fn the_kernel_confirms_the_lock_down() {
    let pool = start(spec(Abi::Core, "run"), 1);
    pool.wait_ready().expect("a worker");
    is_locked_down(pool.worker_pids()[0]);
}

/// What the kernel knows of a worker without grants.
pub fn is_locked_down(pid: i32) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.expect("a field").split_whitespace().nth(1).expect("a value").to_owned()
    };
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0), "{set}");
    }
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    for thread in threads {
        let status = std::fs::read_to_string(thread.expect("thread").path().join("status")).expect("status");
        assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    for name in ["Max core file size", "Max file size", "Max processes"] {
        let line = limits.lines().find(|line| line.starts_with(name)).expect("a limit");
        assert_eq!(line[name.len()..].split_whitespace().nth(1), Some("0"), "{line}");
    }
}

#[test]
fn workers_hold_only_what_they_were_sent() {
    let pool = start(spec(Abi::Core, "run"), 1);
    pool.wait_ready().expect("a worker");
    holds_only_what_it_was_sent(pool.worker_pids()[0]);
}

/// The descriptors and variables of a worker without grants.
pub fn holds_only_what_it_was_sent(pid: i32) {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return crate::support::skipped("only a superuser looks into workers");
    };
    let mut open: Vec<String> = open
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .map(|link| match link.split_once(":[") {
            Some((kind, _number)) => kind.to_owned(),
            None if link.ends_with("/pagemap") => "pagemap".to_owned(),
            // From the cache, or compiled just now.
            None if link.ends_with(".cwasm") || link.starts_with("/memfd:wpool-artifact") => "artifact".to_owned(),
            None => link,
        })
        .collect();
    open.sort();
    // Once for the engine, and once for what puts instances back, where they are.
    open.dedup_by(|one, other| one == other && one == "pagemap");
    // The socket twice, once for the flusher; and what the engine keeps open.
    assert_eq!(open, ["/dev/null", "artifact", "pagemap", "pipe", "socket", "socket"]);
    assert_eq!(std::fs::read(format!("/proc/{pid}/environ")).expect("environ"), b"");
}

#[test]
fn off_leaves_the_walls_out_and_best_effort_does_not() {
    for (sandbox, free) in [(SandboxMode::Off, true), (SandboxMode::BestEffort, false)] {
        let options = PoolOptions { worker: probe(), sandbox, ..options(1) };
        let pool = Pool::start(work(ANY, spec(Abi::Core, "run")), options).expect("pool");
        let outcomes = pool.outcomes([item(0, "\"read /etc/passwd\"")], MapOptions::default()).expect("job");
        let outcomes: Vec<_> = outcomes.collect();
        assert_eq!(outcomes[0].kind() == Kind::Ok, free, "{sandbox:?}: {:?}", outcomes[0].result);
        assert_eq!(is_dead(&outcomes[0]), !free, "{sandbox:?}");
    }
}

#[test]
fn a_killed_host_leaves_no_worker() {
    let bench = Bench::new();
    for mode in ["enforce", "off"] {
        // Neither reads its socket: both are in an endless loop.
        let line = ["run", "square.wat", "--map", "[99,99]", "-j", "2", "--timeout", "none", "--sandbox", mode];
        let mut host = bench.command(&line).spawn().expect("starts");
        let until = Instant::now() + Duration::from_secs(20);
        let burning = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(11)?.parse::<u64>().ok());
            ticks.is_some_and(|ticks| ticks > 2)
        };
        let workers = loop {
            let workers: Vec<i32> = children_of(host.id()).into_iter().filter(burning).collect();
            if workers.len() == 2 {
                break workers;
            }
            assert!(Instant::now() < until, "no workers: {workers:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        host.kill().expect("killed");
        host.wait().expect("reaped");
        let until = Instant::now() + Duration::from_secs(1);
        // A zombie is gone; whoever adopted it may take its time.
        let alive = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
        };
        while workers.iter().any(alive) {
            assert!(Instant::now() < until, "{mode}: workers outlive their host");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn crippled(layer: &str, line: &[&str]) -> crate::command::Ran {
    let bench = Bench::new();
    let (probe, wpool) = (probe(), binary());
    let mut command = bench.command(&["cripple", layer, wpool.to_str().expect("path")]);
    command.args(line);
    // The bench makes commands of the real binary; here it is a stand-in's.
    let mut through = std::process::Command::new(probe);
    through.args(command.get_args()).current_dir(bench.path(""));
    through.env_clear().env("WPOOL_CACHE_DIR", bench.path("cache"));
    through.output().expect("runs").into()
}

#[test]
fn without_a_required_layer_enforce_refuses_and_names_it() {
    for layer in ["seccomp", "no-new-privs"] {
        if layer == "no-new-privs" && !rustix::process::geteuid().is_root() {
            continue;
        }
        let ran = crippled(layer, &["run", "square.wat", "--map", "[3]"]);
        assert_eq!(ran.code, Some(4), "{ran:?}");
        assert!(ran.err.contains(layer) && ran.err.contains("--sandbox best-effort"), "{ran:?}");
        assert_eq!(ran.out, "", "nothing ran");
        for mode in ["best-effort", "off"] {
            let ran = crippled(layer, &["run", "square.wat", "--map", "[3]", "--sandbox", mode]);
            assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{mode}: {ran:?}");
        }
    }
}

#[test]
fn without_the_other_layers_it_runs() {
    for layer in ["namespaces", "mounts", "landlock", "all"] {
        let ran = crippled(layer, &["run", "square.wat", "--map", "[3]"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{layer}: {ran:?}");
    }
}

#[test]
fn verbose_runs_name_the_layers_that_are_missing() {
    let ran = crippled("landlock", &["run", "square.wat", "--map", "[3]", "-v"]);
    assert!(ran.err.contains("note: sandbox: no landlock-files: "), "{}", ran.err);
    let ran = crippled("landlock", &["run", "square.wat", "--map", "[3]"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "only those who ask are told");
}

#[test]
fn a_directory_that_became_a_link_is_not_followed() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let granted = folder.path().canonicalize().unwrap().join("granted");
    // As a guest could do it that may write to the folder around it.
    std::os::unix::fs::symlink(other.path(), &granted).unwrap();
    let pool = start(granting(&granted, Access::ReadWrite), 1);
    let error = pool.wait_ready().expect_err("refused");
    assert!(error.to_string().contains("symbolic link"), "{error}");
}

fn doctor(crippled_by: Option<&str>) -> (crate::command::Ran, serde_json::Value) {
    let ran = match crippled_by {
        None => Bench::new().run(&["doctor", "--json"]),
        Some(layer) => crippled(layer, &["doctor", "--json"]),
    };
    let document = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran, document)
}

/// The layers of doctor's document that are in this state.
fn layers(document: &serde_json::Value, state: &str) -> Vec<String> {
    let layers = document["sandbox"]["layers"].as_array().expect("layers").iter();
    let found = layers.filter(|layer| layer["state"] == state);
    found.map(|layer| layer["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn doctor_shows_what_a_worker_found() {
    let (ran, document) = doctor(None);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(document["sandbox"]["enforce"], true);
    let applied = layers(&document, "applied");
    for layer in ["no-new-privs", "seccomp", "data", "non-dumpable", "descriptors"] {
        assert!(applied.iter().any(|name| name == layer), "{layer}: {applied:?}");
    }
    assert_eq!(layers(&document, "compile-workers"), ["cpu"]);
    assert!(document["worker"]["start_ms"].as_f64().expect("a time") > 0.0);
    let text = Bench::new().run(&["doctor"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(applied.iter().all(|name| text.out.contains(name)), "{text:?}");
}

#[test]
fn doctor_says_why_a_layer_is_missing() {
    let (ran, document) = doctor(Some("all"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let missing = layers(&document, "missing");
    for layer in ["user-namespace", "empty-root", "landlock-files", "no-new-code"] {
        assert!(missing.iter().any(|name| name == layer), "{layer}: {missing:?}");
    }
    // There is another way for these.
    assert!(layers(&document, "applied").iter().any(|name| name == "descriptors"));
    assert_eq!(document["sandbox"]["enforce"], true);
}

#[test]
fn doctor_tells_by_its_code_that_enforce_would_refuse() {
    let (ran, document) = doctor(Some("seccomp"));
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert_eq!(document["sandbox"]["enforce"], false);
    assert!(layers(&document, "missing").iter().any(|name| name == "seccomp"), "{document}");
    assert!(ran.err.contains("seccomp"), "{ran:?}");
}
