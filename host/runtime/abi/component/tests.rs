//! Components from text to outcome: described, compiled, loaded and called in
//! this process, without a worker around them.

use std::io::Write;
use std::time::{Duration, Instant};

use super::*;
use crate::capabilities::{Access, Capabilities, DirGrant};
use crate::describe::Description;
use crate::describe::Grant;
use crate::limits::{Features, SandboxMode, Tighter, TimeoutMode};
use crate::outcome::JsonText;
use crate::runtime::componentize::{componentize, is_core_form};
use crate::runtime::describe_component::describe;
use crate::runtime::engine::{EngineSpec, Role};
use crate::wire::message::{Abi, BytesAs, Encode, ItemAs, ItemForm, ResultAs, Spread, Target, TaskSpec};
use crate::wire::page::Stream;

const FUNCTIONS: &str = include_str!("functions.wat");

/// A guest in the making.
struct Bench {
    binary: Vec<u8>,
    description: Description,
    task: TaskSpec,
}

impl Bench {
    fn new(text: &str) -> Self {
        Self::of_binary(wat::parse_str(text).unwrap())
    }

    fn of_binary(binary: Vec<u8>) -> Self {
        let description = describe(&binary).unwrap();
        let task = TaskSpec {
            limits: Limits::default(),
            capabilities: Capabilities::none(),
            isolation: Isolation::Fresh,
            features: Features::default(),
            stub_imports: false,
            targets: Vec::new(),
            spread: Spread::Auto,
            with: Vec::new(),
            argv: Vec::new(),
            program: "test.wasm".to_owned(),
            item_as: ItemAs::Auto,
            result: None,
            bytes: BytesAs::Array,
            encode: Encode::Json,
            extra_fields_ignored: false,
            initializer: None,
        };
        Self { binary, description, task }
    }

    fn function(mut self, name: &str) -> Self {
        self.task.targets.push(Target { abi: Abi::Component, interface: None, name: name.to_owned(), spread: None });
        self
    }

    fn command(mut self) -> Self {
        self.task.targets.push(Target { abi: Abi::Command, interface: None, name: "_start".to_owned(), spread: None });
        self
    }

    fn with(mut self, edit: impl FnOnce(&mut TaskSpec)) -> Self {
        edit(&mut self.task);
        self
    }

    fn load(self) -> Result<(ComponentGuest, Arc<Page>), Refusal> {
        let setup = RunSetup {
            host: 0,
            sandbox: SandboxMode::Off,
            slot: 0,
            description: self.description,
            task: self.task,
            scratch: None,
        };
        let spec = EngineSpec::run(&setup);
        let compiled = EngineSpec { role: Role::Compile, ..spec }.engine()?.precompile_component(&self.binary);
        let mut artifact = tempfile::tempfile().unwrap();
        artifact.write_all(&compiled.unwrap()).unwrap();
        let grants = Arc::new(Grants::open(&setup.task.capabilities, None)?);
        let page = Arc::new(Page::create(4096).unwrap().0);
        let guest = ComponentGuest::load(&spec.engine()?, artifact, &setup, Arc::clone(&page), grants)?;
        Ok((guest, page))
    }

    #[track_caller]
    fn run(self, item: &str) -> (Report, String) {
        run(&mut self.load().unwrap().0, item.as_bytes(), ItemForm::Json)
    }

    #[track_caller]
    fn refusal(self) -> String {
        self.load().map(|_| ()).unwrap_err().message
    }
}

fn run(guest: &mut ComponentGuest, item: &[u8], form: ItemForm) -> (Report, String) {
    let mut out = b"before".to_vec();
    let task = TaskInput { function: 0, index: 7, attempt: 1, item, form, path: None, tighter: Tighter::default() };
    let report = guest.run(&task, &mut out);
    let text = String::from_utf8(out).unwrap();
    (report, text.strip_prefix("before").unwrap().to_owned())
}

#[track_caller]
fn value(name: &str, item: &str) -> String {
    let (report, text) = Bench::new(FUNCTIONS).function(name).run(item);
    assert_eq!(report.result, Ok(Form::Json));
    text
}

#[track_caller]
fn failure(name: &str, item: &str) -> Failure {
    let (report, text) = Bench::new(FUNCTIONS).function(name).run(item);
    assert_eq!(text, "");
    report.result.unwrap_err()
}

#[test]
fn descriptions_list_functions_types_and_needs() {
    let description = describe(&wat::parse_str(FUNCTIONS).unwrap()).unwrap();
    let functions = &description.functions;
    let shown = |name: &str| functions.iter().find(|known| known.path() == name).unwrap().ty.to_string();
    assert_eq!(shown("checked-bytes"), "func(item: list<u8>) -> result<list<u8>, string>");
    assert_eq!(shown("shift"), {
        let point = "record { x: s32, y: u8, label: option<string> }";
        format!("func(point: {point}) -> {point}")
    });
    assert_eq!(shown("crash"), "func()");
    assert_eq!(shown("demo:text/echo@1.0.0/echo"), "func(item: string) -> string");
    assert_eq!(functions.len(), 23);
    assert!(!description.command && description.imports.is_empty());
    // Its exports go through a component within: wasmtime may add two instances.
    assert_eq!((description.needs.instances, description.needs.memories), (3, 1));
    assert_eq!(description.memory_minimum, 1 << 16);
}

#[test]
fn bytes_and_text_pass_as_they_are() {
    assert_eq!(value("echo-bytes", "[1,2,255]"), "[1,2,255]");
    assert_eq!(value("echo-bytes", r#"{"base64":"AQL/"}"#), "[1,2,255]");
    assert_eq!(value("echo-bytes", "[]"), "[]");
    assert_eq!(value("echo-text", r#""a\u00e9\n""#), r#""aé\n""#);
    assert_eq!(value("to-bytes", r#""hi""#), "[104,105]");
    assert_eq!(value("checked-bytes", "[7]"), "[7]");
    assert_eq!(value("checked-text", r#""x""#), r#""x""#);
    let bench = |name| Bench::new(FUNCTIONS).function(name);
    let (report, text) = bench("echo-bytes").with(|task| task.bytes = BytesAs::Utf8).run("[104,105]");
    assert_eq!((report.result, text.as_str()), (Ok(Form::Json), r#""hi""#));
    let (report, text) = bench("echo-text").with(|task| task.encode = Encode::Exact).run(r#""a\nb""#);
    assert_eq!((report.result, text.as_str()), (Ok(Form::Text), "a\nb"));
    let (report, text) = bench("echo-bytes").with(|task| task.encode = Encode::Exact).run("[104,105]");
    assert_eq!((report.result, text.as_str()), (Ok(Form::Bytes), "hi"));
}

#[test]
fn lists_of_numbers_pass_as_one_piece() {
    assert_eq!(value("echo-floats", r#"[0.1,"nan","-inf",1e300]"#), r#"[0.1,"nan","-inf",1e+300]"#);
    assert_eq!(value("echo-shorts", "[-32768,32767]"), "[-32768,32767]");
    assert_eq!(value("second", r#"["x",[18446744073709551615]]"#), "[18446744073709551615]");
    assert_eq!(value("second", r#"{"numbers":[1],"text":""}"#), "[1]");
    assert_eq!(value("checked-numbers", "[4294967295]"), "[4294967295]");
    assert_eq!(failure("checked-numbers", "[]").message, "nothing to do");
    // Their size counts, not what a dynamic value would take.
    let bench = Bench::new(FUNCTIONS).function("echo-floats").with(|task| task.limits.max_result = 2 << 20);
    let bench = bench.with(|task| task.limits.max_item = 2 << 20);
    let item = format!("[{}1]", "1,".repeat(250_000));
    let (report, text) = bench.run(&item);
    assert_eq!((report.result, text.len()), (Ok(Form::Json), "1.0,".len() * 250_001 + 1));
}

#[test]
fn numbers_beside_strings_pass_as_one_piece_too() {
    assert_eq!(value("weigh", r#"["abcd",-1,2.5]"#), "6.0");
    assert_eq!(failure("weigh", r#"["abcd",-128,2.5]"#).message, "nothing");
    assert_eq!(value("starts", r#"["abc","a"]"#), "true");
    assert_eq!(value("starts", r#"{"wanted":"b","text":"abc"}"#), "false");
    assert_eq!(value("repeat", "[255,3]"), "[255,255,255]");
    assert_eq!(value("validate", r#""x""#), "null");
    assert_eq!(failure("validate", r#""""#).message, "nothing to do");
}

#[test]
fn raw_items_reach_strings_and_bytes() {
    let mut guest = Bench::new(FUNCTIONS).function("echo-text").load().unwrap().0;
    assert_eq!(run(&mut guest, "\"é\"".as_bytes(), ItemForm::Raw).1, r#""\"é\"""#);
    let failure = run(&mut guest, b"a\xff", ItemForm::Raw).0.result.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::BadInput, "$: not UTF-8 at byte 1"));
    let mut guest = Bench::new(FUNCTIONS).function("echo-bytes").load().unwrap().0;
    assert_eq!(run(&mut guest, b"\xff\0", ItemForm::Raw).1, "[255,0]");
}

#[test]
fn records_options_and_lists_pass_through_dynamic_values() {
    assert_eq!(value("shift", r#"{"x":-3,"y":200}"#), r#"{"x":-2,"y":200,"label":null}"#);
    assert_eq!(value("shift", r#"{"label":"é","y":0,"x":1}"#), r#"{"x":2,"y":0,"label":"é"}"#);
    assert_eq!(value("sum", "[1.5,2,-0.25]"), "3.25");
    assert_eq!(value("divide", "[7,2]"), "3");
    assert_eq!(value("divide", r#"{"b":2,"a":9}"#), "4");
}

#[test]
fn an_err_is_the_tasks_own_failure() {
    let failed = failure("checked-text", "\"\"");
    assert_eq!((failed.kind, failed.message.as_str()), (Kind::Error, "nothing to do"));
    assert_eq!(failed.detail.value, JsonText::new("\"nothing to do\""));
    assert_eq!(failure("checked-bytes", "[]").message, "nothing to do");
    let failed = failure("divide", "[7,0]");
    assert_eq!((failed.kind, failed.message.as_str(), failed.detail.value), (Kind::Error, "7", JsonText::new("7")));
}

#[test]
fn items_that_do_not_fit_are_bad_input_with_their_path() {
    let failed = failure("shift", r#"{"x":1,"y":300}"#);
    assert_eq!((failed.kind, failed.message.as_str()), (Kind::BadInput, "$.y: 300 does not fit u8"));
    assert_eq!(failed.detail.path.as_deref(), Some("$.y"));
    assert_eq!(failure("echo-text", "5").message, "$: expected string, found a number");
}

#[test]
fn broken_results_are_bad_output() {
    for (name, item) in [("outside", "null"), ("not-text", "\"x\"")] {
        let failed = failure(name, item);
        assert_eq!(failed.kind, Kind::BadOutput, "{name}: {}", failed.message);
    }
}

#[test]
fn results_over_the_limit_are_too_large_however_they_are_given() {
    let bench = |name, limit| {
        let bench = Bench::new(FUNCTIONS).function(name);
        bench.with(|task| (task.limits.max_result, task.limits.max_item) = (limit, limit))
    };
    let kind = |(report, _): (Report, String)| report.result.map_err(|failure| failure.kind);
    assert_eq!(kind(bench("echo-text", 5).run("\"abc\"")), Ok(Form::Json));
    assert_eq!(kind(bench("echo-text", 4).run("\"abc\"")), Err(Kind::ResultTooLarge));
    assert_eq!(kind(bench("echo-bytes", 3).run("[1,2]")), Err(Kind::ResultTooLarge));
    // Every element of a dynamic list costs the host many times its own size.
    assert_eq!(kind(bench("big", 1 << 10).run("1000000")), Err(Kind::ResultTooLarge));
    assert_eq!(kind(bench("big", 64 << 10).run("1000")), Ok(Form::Json));
}

#[test]
fn traps_and_limits_end_a_task_with_their_kind() {
    let failed = failure("crash", "null");
    assert_eq!((failed.kind, failed.detail.trap.as_deref()), (Kind::Trap, Some("unreachable")));
    let (report, _) = Bench::new(FUNCTIONS).function("spin").with(|task| task.limits.fuel = Some(10_000)).run("null");
    assert_eq!(report.result.unwrap_err().kind, Kind::OutOfFuel);
    assert_eq!(report.fuel, Some(10_000));
    let bench = Bench::new(FUNCTIONS).function("spin").with(|task| {
        task.limits.timeout_mode = TimeoutMode::Trap;
        task.limits.timeout = Some(Duration::from_millis(50));
    });
    let mut guest = bench.load().unwrap().0;
    let ticker = guest.pre.engine().clone();
    // Dropped with the process; a test has no worker's threads.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(5));
            ticker.increment_epoch();
        }
    });
    assert_eq!(run(&mut guest, b"null", ItemForm::Json).0.result.unwrap_err().kind, Kind::Timeout);
}

#[test]
fn memory_is_metered_and_refused() {
    let bench = Bench::new(FUNCTIONS).function("echo-bytes").with(|task| task.limits.memory = 128 << 10);
    let mut guest = bench.load().unwrap().0;
    let (report, _) = run(&mut guest, &[7; 1000], ItemForm::Raw);
    assert_eq!((report.result, report.peak_memory), (Ok(Form::Json), 64 << 10));
    let (report, _) = run(&mut guest, &[7; 300 << 10], ItemForm::Raw);
    let failed = report.result.unwrap_err();
    assert!(failed.detail.memory_refused, "{failed:?}");
    let (report, _) = run(&mut guest, &[7; 100_000], ItemForm::Raw);
    assert_eq!((report.result, report.peak_memory), (Ok(Form::Json), 128 << 10));
}

#[test]
fn fresh_tasks_share_nothing_and_kept_instances_do() {
    let bench = || Bench::new(FUNCTIONS).function("count");
    let mut fresh = bench().load().unwrap().0;
    assert_eq!([run(&mut fresh, b"null", ItemForm::Json).1, run(&mut fresh, b"[]", ItemForm::Json).1], ["1", "1"]);
    let mut kept = bench().with(|task| task.isolation = Isolation::Reuse).load().unwrap().0;
    assert_eq!([run(&mut kept, b"null", ItemForm::Json).1, run(&mut kept, b"[]", ItemForm::Json).1], ["1", "2"]);
    assert_eq!(run(&mut kept, b"5", ItemForm::Json).0.result.unwrap_err().kind, Kind::BadInput);
    assert_eq!(run(&mut kept, b"null", ItemForm::Json).1, "3");
}

#[test]
fn functions_in_interfaces_are_found() {
    let target = |interface: Option<&str>| Target {
        abi: Abi::Component,
        interface: interface.map(str::to_owned),
        name: "echo".to_owned(),
        spread: None,
    };
    let bench = |interface| Bench::new(FUNCTIONS).with(|task| task.targets.push(target(interface)));
    assert_eq!(bench(Some("demo:text/echo@1.0.0")).run("\"x\"").1, "\"x\"");
    assert!(bench(None).refusal().contains("exports no function \"echo\""));
}

#[test]
fn fixed_parameters_and_arity_are_settled_at_load() {
    let bench = |spread| Bench::new(FUNCTIONS).function("divide").with(|task| task.spread = spread);
    assert!(bench(Spread::One).refusal().contains("use --starmap"));
    let fixed = bench(Spread::One).with(|task| task.with.push(("b".to_owned(), "2".to_owned())));
    assert_eq!(fixed.run("8").1, "4");
}

const RESOURCE: &str = r#"(component
    (import "host:db/store@1.0.0" (instance $db
        (export "row" (type $row (sub resource)))
        (export "open" (func (param "name" string) (result (own $row))))))
    (alias export $db "row" (type $row))
    (core module $libc
        (memory (export "m") 1)
        (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
    (core instance $libc (instantiate $libc))
    (core func $open (canon lower (func $db "open") (memory $libc "m") (realloc (func $libc "r"))))
    (core module $m
        (import "db" "open" (func $open (param i32 i32) (result i32)))
        (func (export "take") (param i32))
        (func (export "call") (drop (call $open (i32.const 0) (i32.const 0)))))
    (core instance $i (instantiate $m (with "db" (instance (export "open" (func $open))))))
    (func (export "take") (param "row" (own $row)) (canon lift (core func $i "take")))
    (func (export "call") (canon lift (core func $i "call"))))"#;

#[test]
fn resources_are_refused_at_load_naming_the_parameter() {
    let bench = Bench::new(RESOURCE).function("take").with(|task| task.stub_imports = true);
    assert_eq!(bench.refusal(), r#"parameter "row" of "take" is a resource, which JSON cannot carry"#);
}

#[test]
fn unknown_imports_are_refused_or_trap_when_called() {
    let bench = Bench::new(RESOURCE).function("call");
    assert_eq!(bench.description.imports[0].grant, Grant::Unknown);
    let refusal = bench.refusal();
    assert!(refusal.contains("\"host:db/store@1.0.0\"") && refusal.contains("--stub-imports"), "{refusal}");
    let (report, _) = Bench::new(RESOURCE).function("call").with(|task| task.stub_imports = true).run("null");
    let failed = report.result.unwrap_err();
    assert_eq!(failed.kind, Kind::Denied);
    assert_eq!(failed.detail.import.as_deref(), Some("host:db/store@1.0.0/open"));
}

/// A program that prints its input twice, fails where that begins with `!`,
/// and sleeps an hour where that begins with `z`.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x7a))
            (then
                (i32.store (i32.const 144) (i32.const 1))
                (i64.store (i32.const 152) (i64.const 3600000000000))
                (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 320)))))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x21))
            (then (call $exit (i32.const 3))))))"#;

fn program() -> Bench {
    Bench::of_binary(componentize(&wat::parse_str(PROGRAM).unwrap()).unwrap()).command()
}

#[test]
fn programs_read_the_item_and_print_the_result() {
    let bench = program();
    assert!(bench.description.command);
    let grant = |name: &str| {
        let mut imports = bench.description.imports.iter();
        imports.find(|import| import.module.starts_with(name)).map(|import| import.grant.clone())
    };
    assert_eq!(grant("wasi:cli/stdin@"), Some(Grant::Always));
    assert_eq!(grant("wasi:filesystem/types@"), Some(Grant::Flag("--dir".to_owned())));
    let (report, text) = bench.run("\"ab\"");
    assert_eq!((report.result, text.as_str(), report.stdout_is_result), (Ok(Form::Json), "\"abab\"", true));
    let (report, text) = program().with(|task| task.result = Some(ResultAs::Json)).run("1");
    assert_eq!((report.result, text.as_str()), (Ok(Form::Json), "11"));
}

#[test]
fn a_program_that_exits_with_a_code_has_failed() {
    let (mut guest, page) = program().load().unwrap();
    let (report, _) = run(&mut guest, b"!", ItemForm::Raw);
    let failed = report.result.unwrap_err();
    // WASI 0.2 carries only success and failure.
    assert_eq!((failed.kind, failed.detail.code), (Kind::Exit, Some(1)));
    assert_eq!(failed.detail.denied, Vec::<String>::new());
    assert_eq!(page.tail(Stream::Stdout).0, b"!!");
}

#[test]
fn a_virtual_clock_sleeps_at_once() {
    let bench = program().with(|task| task.capabilities.deterministic = Some(1));
    let started = Instant::now();
    let (report, text) = bench.run("\"z\"");
    assert_eq!((report.result, text.as_str()), (Ok(Form::Json), "\"zz\""));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn stdout_over_the_limit_ends_a_program() {
    let (report, _) = program().with(|task| task.limits.max_result = 3).run("\"ab\"");
    assert_eq!(report.result.unwrap_err().kind, Kind::ResultTooLarge);
}

#[test]
fn core_modules_with_a_components_types_are_told_apart() {
    let module = wat::parse_str(r#"(module (@custom "component-type:demo" "\00") (func))"#).unwrap();
    assert!(is_core_form(&module));
    assert!(!is_core_form(&wat::parse_str(r#"(module (@custom "other" "\00") (func))"#).unwrap()));
    assert!(!is_core_form(&wat::parse_str("(component)").unwrap()));
    assert!(!is_core_form(b"component-type"));
    assert!(componentize(&module).is_err());
}

#[test]
fn looking_for_what_was_not_granted_names_its_flag() {
    let text = r#"(component
        (import "wasi:filesystem/types@0.2.0" (instance $types (export "descriptor" (type (sub resource)))))
        (alias export $types "descriptor" (type $descriptor))
        (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
            (alias outer 1 $descriptor (type $d))
            (export "descriptor" (type $e (eq $d)))
            (export "get-directories" (func (result (list (tuple (own $e) string)))))))
        (import "wasi:sockets/network@0.2.0" (instance $network (export "network" (type (sub resource)))))
        (alias export $network "network" (type $net))
        (import "wasi:sockets/instance-network@0.2.0" (instance $instance
            (alias outer 1 $net (type $n))
            (export "network" (type $o (eq $n)))
            (export "instance-network" (func (result (own $o))))))
        (core module $libc
            (memory (export "m") 1)
            (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
        (core instance $libc (instantiate $libc))
        (core func $dirs (canon lower (func $preopens "get-directories")
            (memory $libc "m") (realloc (func $libc "r"))))
        (core func $net (canon lower (func $instance "instance-network")))
        (core module $m
            (import "wasi" "dirs" (func $dirs (param i32)))
            (import "wasi" "net" (func $net (result i32)))
            (func (export "files") (call $dirs (i32.const 0)) (unreachable))
            (func (export "network") (drop (call $net)) (unreachable)))
        (core instance $i (instantiate $m
            (with "wasi" (instance (export "dirs" (func $dirs)) (export "net" (func $net))))))
        (func (export "files") (canon lift (core func $i "files")))
        (func (export "network") (canon lift (core func $i "network"))))"#;
    for (function, flag) in [("files", "--dir"), ("network", "--allow-net")] {
        let failed = Bench::new(text).function(function).run("null").0.result.unwrap_err();
        assert_eq!((failed.kind, failed.detail.denied.as_slice()), (Kind::Trap, &[flag.to_owned()][..]));
        assert!(failed.message.contains(flag));
    }
}

/// A program that copies its input to `out` in the first granted directory,
/// and fails where that does not work.
const WRITER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "out")
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 3) (i32.const 9)
                (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16))
            (then (call $exit (i32.const 2))))
        (if (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8))
            (then (call $exit (i32.const 3))))))"#;

#[test]
fn writes_to_files_are_held_to_their_limit() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::of_binary(componentize(&wat::parse_str(WRITER).unwrap()).unwrap()).command();
    let mut guest = bench
        .with(|task| {
            let (host, guest) = (directory.path().to_owned(), "/d".to_owned());
            task.capabilities.dirs.push(DirGrant { host, guest, access: Access::ReadWrite });
            task.limits.max_write = 4;
        })
        .load()
        .unwrap()
        .0;
    assert_eq!(run(&mut guest, b"abcd", ItemForm::Raw).0.result, Ok(Form::Json));
    assert_eq!(std::fs::read(directory.path().join("out")).unwrap(), b"abcd");
    let failed = run(&mut guest, b"abcde", ItemForm::Raw).0.result.unwrap_err();
    assert_eq!((failed.kind, failed.detail.denied.as_slice()), (Kind::Exit, &["--max-write".to_owned()][..]));
    assert_eq!(std::fs::read(directory.path().join("out")).unwrap(), b"");
}
