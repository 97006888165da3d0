//! The same programs through CPython's own `multiprocessing` and through
//! wpool: `tests/parity/NAME.py` prints what it saw as JSON, and so does its
//! twin here.
//!
//! In [`same`] both must agree. In [`better`] CPython's documented failures
//! are run, and what it did is told; only ours is asserted, so that a version
//! of CPython that does better fails nothing. What a program prints under
//! `recorded` differs between versions, and is told, too.
//!
//! Skipped visibly where there is no CPython of at least 3.11; a failure then
//! under `WPOOL_REQUIRE_GUESTS=1`.

mod better;
mod rows;
mod same;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use wpool::{CallError, Kind, Results};

use crate::support::{skipped, told};

/// A program that must end has this long, on however busy a machine.
const MUST_END: Duration = Duration::from_secs(60);

/// A program that may hang is given up after this.
const MAY_HANG: Duration = Duration::from_secs(3);

/// What a program of CPython did.
#[derive(Debug)]
enum Seen {
    /// It ended; the last line that it printed.
    Printed(Value),
    /// It was killed when its time was over; the last line until then.
    Hangs(Option<Value>),
    /// It ended, and printed no JSON.
    Broken(String),
}

/// A program that runs, in a process group of its own.
struct Program {
    child: Child,
    began: Instant,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

impl Program {
    fn start(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(format!("{name}.py"));
        // Files, not pipes: workers that are left behind would hold those.
        let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let mut command = Command::new("python3");
        command.args(["-B", "-W", "ignore"]).arg(path).process_group(0).stdin(Stdio::null());
        command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
        Self { child: command.spawn().unwrap(), began: Instant::now(), out, err }
    }

    /// Waits for its end, for at most so long since its start. Its group is
    /// gone then.
    fn end(mut self, deadline: Duration) -> Seen {
        let ended = loop {
            if self.child.try_wait().unwrap().is_some() {
                break true;
            }
            if self.began.elapsed() >= deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.kill();
        let text = |file: &tempfile::NamedTempFile| {
            let mut text = String::new();
            File::open(file.path()).and_then(|mut file| file.read_to_string(&mut text)).unwrap();
            text
        };
        let printed = text(&self.out).lines().last().and_then(|line| serde_json::from_str(line).ok());
        match (ended, printed) {
            (false, printed) => Seen::Hangs(printed),
            (true, Some(value)) => Seen::Printed(value),
            (true, None) => Seen::Broken(text(&self.err)),
        }
    }

    fn kill(&mut self) {
        // The group is there as long as one of its processes is.
        let _gone = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        self.child.wait().unwrap();
    }
}

/// The version of CPython that programs run on, such as `3.13.1`.
pub fn cpython() -> Option<&'static str> {
    static VERSION: OnceLock<Result<String, String>> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let ask = "import platform; print(platform.python_implementation(), platform.python_version())";
        let output = Command::new("python3").args(["-c", ask]).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let version = text.strip_prefix("CPython ").unwrap_or_default();
        let minor = version.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if minor.is_some_and(|minor| minor >= 11) { Ok(version.to_owned()) } else { Err(format!("it is {text:?}")) }
    });
    match version {
        Ok(version) => Some(version),
        Err(why) => {
            let required = std::env::var_os("WPOOL_REQUIRE_GUESTS").is_some_and(|value| value == "1");
            assert!(!required, "the parity suite needs CPython 3.11 or newer as `python3`: {why}");
            skipped(&format!("there is no CPython 3.11 or newer as `python3`: {why}"));
            None
        }
    }
}

/// Both must print the same, but for what is `recorded`.
#[track_caller]
fn same(name: &str, twin: impl FnOnce() -> Value) {
    let program = cpython().map(|version| (version, Program::start(name)));
    let ours = twin();
    let Some((version, program)) = program else { return };
    let mut theirs = match program.end(MUST_END) {
        Seen::Printed(value) => value,
        other => panic!("{name} on CPython {version}: {other:?}"),
    };
    if let Some(recorded) = theirs.as_object_mut().and_then(|fields| fields.remove("recorded")) {
        told(&format!("parity: {name} on CPython {version}: {recorded}"));
    }
    assert_eq!(ours, theirs, "{name}: wpool on the left, CPython {version} on the right");
}

/// Runs a documented failure of CPython's beside `ours`, and tells what it
/// did. Whatever that is, it fails nothing.
fn recorded(name: &str, ours: impl FnOnce()) {
    let program = cpython().map(|version| (version, Program::start(name)));
    ours();
    let Some((version, program)) = program else { return };
    let seen = match program.end(MAY_HANG) {
        Seen::Printed(value) => value.to_string(),
        Seen::Hangs(None) => format!("hangs (killed after {MAY_HANG:?})"),
        Seen::Hangs(Some(value)) => format!("hangs (killed after {MAY_HANG:?}) after {value}"),
        Seen::Broken(text) => format!("ended without an answer: {}", text.lines().last().unwrap_or_default()),
    };
    told(&format!("parity: {name} on CPython {version}: {seen}"));
}

/// The exception that CPython raises where we have this error, as the table
/// in docs/multiprocessing.md says.
fn exception(error: &CallError) -> &'static str {
    match error {
        CallError::Task(task) if matches!(task.kind, Kind::BadOutput | Kind::ResultTooLarge) => "MaybeEncodingError",
        CallError::Task(_) => "TaskFailed",
        CallError::TimedOut => "TimeoutError",
        CallError::Closed => "ValueError: Pool not running",
        CallError::Running => "ValueError: Pool is still running",
        CallError::Usage(_) => "ValueError",
        _ => "none of Python's",
    }
}

/// What a call gave: its value, or the name of the exception.
fn said<T: serde::Serialize>(result: Result<T, CallError>) -> Value {
    match result {
        Ok(value) => serde_json::to_value(value).unwrap(),
        Err(error) => exception(&error).into(),
    }
}

/// Everything that an iterator gives, and its end.
fn drained(results: Results<u64>) -> Vec<Value> {
    results.map(said).chain([Value::from("StopIteration")]).collect()
}
