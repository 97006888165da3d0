//! What the tests share: modules, pools, items.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use wpool::capabilities::Capabilities;
use wpool::limits::{Features, Isolation, Limits};
use wpool::pool::compile::{CompileOptions, prepare};
use wpool::pool::item::{Body, Item};
use wpool::pool::module::Module;
use wpool::pool::{Pool, PoolOptions, Work};
use wpool::wire::message::{Abi, BytesAs, Encode, ItemAs, ItemForm, Spread, Target, TaskSpec};

/// The real binary.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wpool"))
}

/// A specification of tasks that call `name`.
pub fn spec(abi: Abi, name: &str) -> TaskSpec {
    TaskSpec {
        limits: Limits { timeout: Some(Duration::from_secs(20)), ..Limits::default() },
        capabilities: Capabilities::none(),
        isolation: Isolation::Fresh,
        features: Features::default(),
        stub_imports: false,
        targets: vec![Target { abi, interface: None, name: name.to_owned(), spread: None }],
        spread: Spread::One,
        with: Vec::new(),
        argv: Vec::new(),
        program: "test.wasm".to_owned(),
        item_as: ItemAs::Auto,
        result: None,
        bytes: BytesAs::Array,
        encode: Encode::Json,
        extra_fields_ignored: false,
        initializer: None,
    }
}

/// A compiled module with its specification.
pub fn work(wat: &str, spec: TaskSpec) -> Work {
    let module = Module::from_bytes("test.wat", wat.as_bytes()).expect("module");
    let options = CompileOptions {
        worker: Some(binary()),
        epochs: spec.limits.timeout_mode == wpool::limits::TimeoutMode::Trap,
        fuel: spec.limits.fuel.is_some(),
        ..CompileOptions::default()
    };
    let artifact = prepare(&module, &options, &mut |_| {}).expect("compiles");
    Work { artifact: artifact.file, description: artifact.description, spec }
}

/// Options for `processes` workers of the real binary.
pub fn options(processes: usize) -> PoolOptions {
    PoolOptions {
        processes: NonZeroUsize::new(processes).expect("not zero"),
        worker: binary(),
        ..PoolOptions::default()
    }
}

/// A pool of `processes` workers.
pub fn pool(processes: usize, work: Work) -> Pool {
    let pool = Pool::start(work, options(processes)).expect("pool");
    pool.wait_ready().expect("a worker");
    pool
}

/// An item of JSON text.
pub fn item(index: u64, text: impl Into<String>) -> Item {
    let bytes = Bytes::from(text.into());
    Item { index, body: Ok(Body { bytes, form: ItemForm::Json, path: None, connection: None }), tag: None }
}

/// Items `0..count` that are their own index.
pub fn numbers(count: u64) -> impl Iterator<Item = Item> + Send + 'static {
    (0..count).map(|index| item(index, index.to_string()))
}

/// Has what the tests start heed signals, whoever started the tests: shells
/// have their background jobs ignore Ctrl-C and `nohup` a closed terminal, and
/// that is inherited.
pub fn heed_signals() {
    #[expect(unsafe_code, reason = "signal(2) has no safe form")]
    // SAFETY: the default action is no handler of ours.
    unsafe {
        for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGTERM] {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Says that a test was skipped, where it can be seen: the test runner hides
/// what is printed by the macros.
pub fn skipped(why: &str) {
    told(&format!("skipped: {why}"));
}

/// Says something where it can be seen.
pub fn told(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Processes whose parent this one is.
pub fn child_processes() -> Vec<i32> {
    children_of(std::process::id())
}

/// Processes whose parent is `parent`.
pub fn children_of(parent: u32) -> Vec<i32> {
    let own = parent.to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let rest = stat.rsplit(')').next().unwrap_or_default();
            rest.split_whitespace().nth(1) == Some(own.as_str())
        })
        .collect()
}

/// The text of all sources below a folder.
pub fn sources(folder: &std::path::Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether a child's program is there: for a moment after it was started, a
/// process has the memory and the descriptors of this one.
pub fn is_itself(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| Ok(program) != std::fs::read_link("/proc/self/exe").map_err(drop))
}

/// The most memory that a child has had so far, in bytes.
pub fn peak_memory(pid: u32) -> usize {
    if !is_itself(pid) {
        return 0;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let most = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    most.unwrap_or(0_usize) << 10
}
