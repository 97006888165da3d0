//! Core modules from text to outcome: each ABI, each kind, each limit.

mod abi;
mod limits;
mod modules;
mod reset;
mod spec;
mod wasi;

use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;

use crate::describe::Description;
use crate::limits::{CompileLimits, Limits, SandboxMode, Tighter};
use crate::outcome::{Failure, Form, Kind};
use crate::runtime::{Guest, Report, TaskInput, compile, threads};
use crate::wire::message::{Abi, CompileSetup, Encode, ItemAs, ItemForm, Refusal, RunSetup, Spread, Target, TaskSpec};
use crate::wire::page::{Page, Stream};

/// A task that takes one JSON item and returns its value as JSON.
pub fn spec(abi: Abi, name: &str) -> TaskSpec {
    TaskSpec {
        limits: Limits::default(),
        capabilities: crate::capabilities::Capabilities::none(),
        isolation: crate::limits::Isolation::Fresh,
        features: crate::limits::Features::default(),
        stub_imports: false,
        targets: vec![Target { abi, interface: None, name: name.to_owned(), spread: None }],
        spread: Spread::One,
        with: Vec::new(),
        argv: Vec::new(),
        program: "task.wasm".to_owned(),
        item_as: ItemAs::Auto,
        result: None,
        bytes: crate::wire::message::BytesAs::Array,
        encode: Encode::Json,
        extra_fields_ignored: false,
        initializer: None,
    }
}

/// How a compile worker would be asked for what `task` needs.
pub fn compile_setup(task: &TaskSpec) -> CompileSetup {
    CompileSetup {
        host: 0,
        sandbox: SandboxMode::Off,
        limits: CompileLimits::default(),
        features: task.features,
        epochs: threads::epoch_timeout(&task.limits).is_some(),
        fuel: task.limits.fuel.is_some(),
        stack: task.limits.stack,
        instrument: false,
    }
}

/// A loaded guest with its page.
pub struct Bench {
    pub guest: Guest,
    pub page: Arc<Page>,
    pub description: Description,
}

/// Compiles and loads, as a pool of one worker would.
pub fn load(wat: &str, task: TaskSpec) -> Result<Bench, Refusal> {
    load_with_scratch(wat, task, None)
}

pub fn load_with_scratch(wat: &str, task: TaskSpec, scratch: Option<&Path>) -> Result<Bench, Refusal> {
    load_file(wat.as_bytes(), task, scratch, true)
}

/// The same for a guest whose instances are all made anew.
pub fn load_anew(module: &[u8], task: TaskSpec) -> Result<Bench, Refusal> {
    load_file(module, task, None, false)
}

pub fn load_file(module: &[u8], task: TaskSpec, scratch: Option<&Path>, reset: bool) -> Result<Bench, Refusal> {
    let (mut description, artifact) = compile(module, &compile_setup(&task))?;
    description.reset = description.reset.filter(|_| reset);
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&artifact).expect("writable");
    file.rewind().expect("seekable");
    let page = Arc::new(Page::create(task.limits.max_captured).expect("a page").0);
    let setup =
        RunSetup { host: 0, sandbox: SandboxMode::Off, slot: 0, description: description.clone(), task, scratch: None };
    let guest = Guest::load(&file, &setup, Arc::clone(&page), scratch)?;
    Ok(Bench { guest, page, description })
}

pub fn must_load(wat: &str, task: TaskSpec) -> Bench {
    load(wat, task).expect("loads")
}

impl Bench {
    pub fn report(&mut self, item: &[u8], form: ItemForm, index: u64) -> (Report, Vec<u8>) {
        assert!(self.page.start(1, 0));
        let mut out = Vec::new();
        let task = TaskInput { function: 0, index, attempt: 1, item, form, path: None, tighter: Tighter::default() };
        let report = self.guest.run(&task, &mut out);
        self.page.finish();
        (report, out)
    }

    pub fn run(&mut self, item: &str) -> Result<String, Failure> {
        let (report, out) = self.report(item.as_bytes(), ItemForm::Json, 0);
        if report.result.is_err() {
            assert!(out.is_empty(), "a failed task leaves nothing in the output");
        }
        report.result.map(|_| String::from_utf8_lossy(&out).into_owned())
    }

    pub fn value(&mut self, item: &str) -> String {
        self.run(item).expect("a value")
    }

    pub fn failure(&mut self, item: &str) -> Failure {
        self.run(item).expect_err("a failure")
    }

    pub fn kind(&mut self, item: &str) -> Kind {
        self.failure(item).kind
    }

    pub fn printed(&self, stream: Stream) -> String {
        String::from_utf8_lossy(&self.page.tail(stream).0).into_owned()
    }
}

pub fn refusal(wat: &str, task: TaskSpec) -> String {
    load(wat, task).map(|_| ()).expect_err("a refusal").message
}

pub fn core(name: &str) -> TaskSpec {
    spec(Abi::Core, name)
}

pub fn command() -> TaskSpec {
    spec(Abi::Command, "_start")
}

/// Imports and memory of a command, with `write(fd, address, length)`.
pub const COMMAND_HEAD: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 2)
    (func $write (param $fd i32) (param $at i32) (param $length i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $length))
      (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $read (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $length))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.load (i32.const 8)))
"#;

/// A command around the body of its `_start`.
pub fn program(body: &str) -> String {
    format!("(module {COMMAND_HEAD} {body})")
}

/// A value's form and bytes.
pub fn exact(bench: &mut Bench, item: &str) -> (Form, Vec<u8>) {
    let (report, out) = bench.report(item.as_bytes(), ItemForm::Json, 0);
    (report.result.expect("a value"), out)
}
