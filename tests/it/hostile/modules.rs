//! A: files that claim to be modules.

use std::time::Duration;

use super::Arena;
use super::cases::{Cases, guest};

/// A file is refused: exit 3, a message with each of `says`, nothing written.
#[track_caller]
fn refused(id: &str, name: &str, file: impl AsRef<[u8]>, options: &[&str], says: &[&str]) -> Duration {
    let arena = Arena::new();
    arena.write(name, file);
    let line = [&["run", name, "--map", "[0,1,2]", "--stats-file", "stats.json"], options].concat();
    let ran = arena.attack(id, &line);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{id}: {}", ran.err);
    assert!(ran.err.starts_with("error: "), "{id}: {}", ran.err);
    assert!(ran.err.len() < 5000, "{id}: a message of {} bytes", ran.err.len());
    for part in says {
        assert!(ran.err.contains(part), "{id}: {}", ran.err);
    }
    if !options.contains(&"--compile-timeout") {
        let inspected = arena.attack(id, &["inspect", name]);
        assert!(matches!(inspected.code, Some(0 | 3)), "{id}: {}", inspected.err);
    }
    ran.took
}

/// A number as binaries have it.
fn leb(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        out.push(if number == 0 { byte } else { byte | 0x80 });
        if number == 0 {
            return;
        }
    }
}

fn section(id: u8, count: usize, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    leb(count, &mut body);
    body.extend(content);
    let mut section = vec![id];
    leb(body.len(), &mut section);
    section.extend(body);
    section
}

fn binary(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(sections.concat());
    module
}

/// One type: a function of a number.
fn a_type() -> Vec<u8> {
    section(1, 1, &[0x60, 1, 0x7f, 0])
}

/// A module with one function of this code.
fn one_function(code: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    leb(code.len(), &mut body);
    body.extend(code);
    binary(&[a_type(), section(3, 1, &[0]), section(7, 1, b"\x03run\0\0"), section(10, 1, &body)])
}

/// Files that are refused: a row, a file's name, its bytes, what is said.
fn refusals(cases: &mut Cases, list: Vec<(&'static str, &'static str, Vec<u8>, &'static [&'static str])>) {
    for (row, name, file, says) in list {
        cases.add(row, format!("{name} {says:?}"), move || _ = refused(row, name, file, &[], says));
    }
}

pub fn files() -> Cases {
    let mut noise = b"\0asm\x01\0\0\0".to_vec();
    let mut state = 7_u32;
    noise.extend((0..1 << 20).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    let component = [b"\0asm\x0d\0\x01\0", &noise[8..]].concat();
    let text = |text: &str| text.as_bytes().to_vec();
    let mut cases = Cases::default();
    refusals(
        &mut cases,
        vec![
            ("A01", "empty.wasm", Vec::new(), &["is empty"]),
            ("A01", "empty.wat", Vec::new(), &["is empty"]),
            ("A01", "blank.wat", text(" \n\t "), &[]),
            ("A02", "cut.wasm", text("\0asm"), &["cut short"]),
            ("A02", "one.wasm", text("\0"), &["cut short"]),
            ("A02", "seven.wasm", text("\0asm\x01\0\0"), &["cut short"]),
            ("A02", "head.wasm", text("\0asm\x01\0\0\0"), &["no function"]),
            ("A02", "component.wasm", text("\0asm\x0d\0\x01\0"), &["no function"]),
            ("A02", "version.wasm", text("\0asm\x09\0\0\0"), &["version"]),
            ("A02", "section.wasm", text("\0asm\x01\0\0\0\x01"), &["invalid"]),
            ("A02", "length.wasm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec(), &["invalid"]),
            ("A03", "noise.wasm", noise.clone(), &["invalid"]),
            ("A03", "noise-component.wasm", component, &["invalid"]),
            ("A03", "noise.wat", noise[8..].to_vec(), &[]),
            ("A03", "native.wasm", b"\x7fELF\x02\x01\x01".to_vec(), &["compiled artifact or a native program"]),
            ("A03", "packed.wasm", b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), &["unpack"]),
            ("A03", "archive.wasm", b"PK\x03\x04\0\0\0\0".to_vec(), &["unpack"]),
            ("A04", "text.wasm", text("(module (func (export \"run\") (drop)))"), &["invalid"]),
            ("A04", "text.wasm", text("(module \x1b[31m \u{202e} oops)"), &["line 1"]),
            ("A04", "deep.wat", text(&"(".repeat(1 << 20)), &[]),
            ("A04", "deep.wat", text(&format!("(module (func {}", "(block ".repeat(1 << 18))), &[]),
            ("A04", "comment.wat", text("(;"), &[]),
            ("A04", "quote.wat", text("(module quote \"\\1b\")"), &[]),
            ("A04", "data.wat", text("(module (memory 1) (data (i32.const 0) \""), &["line 1"]),
        ],
    );
    cases
}

#[test]
fn files_that_are_no_modules_are_refused() {
    files().run();
}

#[test]
fn text_is_taken_whatever_its_name_is() {
    let arena = Arena::new();
    arena.write("text.wasm", "(module (func (export \"run\") (param i32) (result i32) (local.get 0)))");
    let ran = arena.attack("A04", &["run", "text.wasm", "--map", "[7]"]);
    assert_eq!(ran.out, "[7]\n", "{}", ran.err);
}

const RUN: &str = r#"(func (export "run") (param i32) (result i32) (local.get 0))"#;

/// A component whose `run` gives its number back.
const COMPONENT: &str = r#"(component
    (core module $m (func (export "run") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#;

pub fn misfits() -> Cases {
    let mut cases = Cases::default();
    let core = format!("(module {RUN})");
    let memory = format!(r#"(module (memory (export "m") 1) {RUN})"#);
    for (row, module, options, says) in [
        ("A05", core.clone(), &["--abi", "component"][..], &["component"][..]),
        ("A05", COMPONENT.to_owned(), &["--abi", "core"], &["component"]),
        ("A05", COMPONENT.to_owned(), &["--abi", "bytes"], &["component"]),
        ("A05", COMPONENT.to_owned(), &["--abi", "command"], &[]),
        ("A05", "(component)".to_owned(), &["--abi", "core"], &[]),
        ("A05", core.clone(), &["--abi", "bytes"], &[]),
        ("A05", core.clone(), &["--abi", "command"], &[]),
        ("A05", core.clone(), &["--abi", "command", "--invoke", "run"], &[]),
        ("A09", format!(r#"(module (import "env" "evil" (func)) {RUN})"#), &[], &["env", "evil"]),
        ("A09", format!(r#"(module (import "env" "m" (memory 1)) {RUN})"#), &[], &["env"]),
        ("A09", format!(r#"(module (import "env" "m" (memory 1)) {RUN})"#), &["--stub-imports"], &["env"]),
        ("A09", format!(r#"(module (import "env" "t" (table 1 funcref)) {RUN})"#), &[], &["env"]),
        ("A09", format!(r#"(module (import "env" "g" (global i32)) {RUN})"#), &["--stub-imports"], &["env"]),
        ("A09", format!(r#"(module (import "" "" (func)) {RUN})"#), &[], &["import"]),
        ("A09", format!(r#"(module (import "wasi_unstable" "fd_write" (func)) {RUN})"#), &[], &["wasi_unstable"]),
        (
            "A09",
            format!(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param f64))) {RUN})"#),
            &[],
            &["fd_write"],
        ),
        (
            "A09",
            format!(r#"(module (import "wasi_snapshot_preview1" "fd_frobnicate" (func)) {RUN})"#),
            &[],
            &["fd_frobnicate"],
        ),
        ("A09", r#"(component (import "a:b/c@1.0.0" (func)))"#.to_owned(), &[], &["a:b/c@1.0.0"]),
        ("A11", core.clone(), &["--invoke", "absent"], &["absent"]),
        ("A11", core.clone(), &["--invoke", ""], &[]),
        ("A11", core.clone(), &["--invoke", "ru"], &["did you mean `run`"]),
        ("A11", COMPONENT.to_owned(), &["--invoke", "absent"], &["absent"]),
        ("A11", COMPONENT.to_owned(), &["--invoke", "a:b/c@1.0.0/run"], &[]),
        ("A11", memory, &["--invoke", "m"], &["m"]),
        ("A11", r#"(module (func (export "run") (param v128)))"#.to_owned(), &[], &["v128"]),
        ("A11", r#"(module (func (export "run") (param externref)))"#.to_owned(), &[], &["-W"]),
        ("A11", r#"(module (func (export "run") (param i32 i32)))"#.to_owned(), &[], &["--starmap"]),
        ("A11", r#"(module (func (export "_initialize")))"#.to_owned(), &[], &["no function"]),
    ] {
        let name = format!("{module:.60} {options:?}");
        cases.add(row, name, move || _ = refused(row, "m.wat", module, options, says));
    }
    cases
}

#[test]
fn modules_that_do_not_fit_are_refused() {
    misfits().run();
}

pub fn names() -> Cases {
    let mut cases = Cases::default();
    let nasty = r"\1b]0;owned\07\n{\22ok\22:1}\00\e2\80\ae";
    let import = |name: &str| format!(r#"(module (import "{name}" "{name}" (func)) {RUN})"#);
    let exports = |name: &str| format!(r#"(module (func (export "{name}") unreachable) (func (export "b")))"#);
    for (what, module, options, says) in [
        ("a nasty import", import(nasty), &[][..], &["import"][..]),
        ("a long import", import(&"x".repeat(100_000)), &[], &[]),
        ("both", import(&nasty.repeat(500)), &[], &[]),
        ("a nasty export", exports(nasty), &["--invoke", "c"], &["did you mean"]),
        ("a nasty export among others", exports(nasty), &[], &["--invoke"]),
        ("a long export", exports(&"x".repeat(100_000)), &[], &["--invoke"]),
        ("a nasty import of a component", nasty_component(nasty), &[], &[]),
    ] {
        cases.add("A12", what, move || _ = refused("A12", "m.wat", module, options, says));
    }
    cases.add("A12", "a called stub", move || {
        let arena = Arena::new();
        let module =
            format!(r#"(module (import "{nasty}" "{nasty}" (func $f)) (func (export "run") (param i32) (call $f)))"#);
        arena.write("m.wat", module);
        for output in ["json", "records"] {
            let line = ["run", "m.wat", "--map", "[0]", "--stub-imports", "--output", output];
            assert_eq!(arena.attack("A12", &line).code, Some(1));
        }
    });
    cases.add("A12", "names of functions in traps", names_in_traps);
    cases.add("A12", "many exports", || {
        let exports: String = (0..2000).map(|n| format!(r#"(func (export "e{n}\1b{}"))"#, "x".repeat(500))).collect();
        refused("A12", "m.wat", format!("(module {exports})"), &[], &["--invoke"]);
    });
    cases
}

/// Component names are checked by the validator.
fn nasty_component(name: &str) -> String {
    format!(r#"(component (import "{name}" (func)))"#)
}

fn names_in_traps() {
    // The name section shows in frames of traps.
    let mut custom = b"\x04name\x01".to_vec();
    let name = format!("\x1b]0;owned\x07\n{{\"ok\":1}}\u{202e}{}", "y".repeat(100_000));
    let mut names = vec![1, 0];
    leb(name.len(), &mut names);
    names.extend(name.as_bytes());
    leb(names.len(), &mut custom);
    custom.extend(names);
    let mut module = one_function(&[0, 0x00, 0x0b]);
    module.push(0);
    leb(custom.len(), &mut module);
    module.extend(custom);
    let arena = Arena::new();
    arena.write("m.wasm", module);
    for output in ["json", "records"] {
        let ran = arena.attack("A12", &["run", "m.wasm", "--map", "[0,1]", "--output", output]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.out.len() + ran.err.len() < 20_000, "{} bytes", ran.out.len() + ran.err.len());
    }
}

#[test]
fn names_are_escaped_and_cut() {
    names().run();
}

/// Loops in loops, and many locals that live through all of them.
fn time_bomb() -> Vec<u8> {
    let mut code = vec![1];
    leb(1000, &mut code);
    code.push(0x7f);
    code.extend([0x03, 0x40].repeat(400));
    for local in 0..1000 {
        for (before, after) in [(0x20, &[0x41, 1, 0x6a][..]), (0x21, &[])] {
            code.push(before);
            leb(local, &mut code);
            code.extend(after);
        }
    }
    code.extend([0x20, 0, 0x0d, 0, 0x0b].repeat(400));
    code.push(0x0b);
    one_function(&code)
}

/// One function of calls: the compiler's memory for each is a kilobyte.
fn memory_bomb() -> Vec<u8> {
    let mut code = vec![0];
    code.extend([0x41, 0, 0x10, 0].repeat(1_500_000));
    code.push(0x0b);
    one_function(&code)
}

pub fn bombs() -> Cases {
    let mut cases = Cases::default();
    for command in ["run", "inspect", "compile"] {
        cases.add("A13", command, move || {
            let arena = Arena::new();
            let bomb = time_bomb();
            assert!(bomb.len() < 13_000, "{} bytes", bomb.len());
            arena.write("bomb.wasm", bomb);
            let mut line = vec![command, "bomb.wasm", "--compile-timeout", "1s"];
            line.extend(if command == "run" { &["--map", "[1]"][..] } else { &[] });
            let ran = arena.attack("A13", &line);
            assert_eq!(ran.code, Some(3), "{}", ran.err);
            assert!(ran.err.contains("--compile-timeout"), "{}", ran.err);
            assert!(ran.took < Duration::from_secs(20), "{:?}", ran.took);
            // The next module runs.
            let ran = arena.attack("A13", &["run", "square.wat", "--map", "[3]"]);
            assert_eq!(ran.out, "[9]\n", "{}", ran.err);
        });
    }
    cases.add("A14", "memory", || {
        let arena = Arena::new();
        arena.write("bomb.wasm", memory_bomb());
        let ran = arena.attack("A14", &["run", "bomb.wasm", "--map", "[1]", "--compile-memory", "256MiB"]);
        assert_eq!(ran.code, Some(3), "{}", ran.err);
        assert!(ran.err.contains("--compile-memory"), "{}", ran.err);
        let ran = arena.attack("A14", &["run", "square.wat", "--map", "[3]"]);
        assert_eq!(ran.out, "[9]\n", "{}", ran.err);
    });
    cases.guests([guest("A13", "next", "", "", "ok:41")]);
    cases
}

#[test]
fn bombs_for_the_compiler_end_at_its_clock() {
    bombs().run();
}

pub fn beyond_measure() -> Cases {
    let mut cases = Cases::default();
    let types = section(3, 1_000_000, &vec![0; 1_000_000]);
    let bodies = section(10, 1_000_000, &[2, 0, 0x0b].repeat(1_000_000));
    let nest = |depth: usize| [vec![0], [0x02, 0x40].repeat(depth), vec![0x0b; depth + 1]].concat();
    let locals = |count: usize| {
        let mut code = vec![1];
        leb(count, &mut code);
        code.extend([0x7e, 0x0b]);
        code
    };
    let functions = |count: usize| {
        binary(&[a_type(), section(3, count, &vec![0; count]), section(10, count, &[2, 0, 0x0b].repeat(count))])
    };
    let mut exports = Vec::new();
    for number in 0..200_000 {
        let name = format!("e{number:06}");
        exports.push(name.len() as u8);
        exports.extend(name.as_bytes());
        exports.extend([0, 0]);
    }
    for (id, file, says) in [
        ("A14", binary(&[a_type(), types, bodies]), "1000000 functions; at most 500000"),
        ("A14", functions(200_000), "more than 100000"),
        ("A14", one_function(&nest(100_001)), "nests blocks more than 100000 deep"),
        ("A14", one_function(&nest(1_000_000)), "nests blocks more than 100000 deep"),
        ("A14", one_function(&locals(50_001)), "local"),
        ("A14", one_function(&locals(4_000_000_000)), "local"),
        ("A14", one_function(&[vec![0], vec![0x01; 9 << 20], vec![0x0b]].concat()), "body size count exceeds limit"),
        ("A14", binary(&[section(1, 1_500_000, &[0x60, 0, 0].repeat(1_500_000))]), "types"),
        (
            "A14",
            binary(&[a_type(), section(3, 1, &[0]), section(7, 200_000, &exports), section(10, 1, &[2, 0, 0x0b])]),
            "200000 exports; at most",
        ),
        ("A14", binary(&[a_type(), section(2, 200_000, &[0, 0, 0, 0].repeat(200_000))]), "200000 imports; at most"),
        ("A14", binary(&[section(6, 1_500_000, &[0x7f, 0, 0x41, 0, 0x0b].repeat(1_500_000))]), "globals"),
        ("A14", binary(&[section(5, 1, &[0, 1]), section(11, 150_000, &[1, 0].repeat(150_000))]), "data segments"),
        ("A18", binary(&[section(4, 101, &[0x70, 0, 1].repeat(101))]), "101 tables"),
        ("A18", binary(&[section(5, 2, &[0, 1].repeat(2))]), "-W multi-memory"),
        ("A18", binary(&[section(5, 1, &[4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10])]), "-W memory64"),
    ] {
        cases.add(id, says, move || {
            let took = refused(id, "m.wasm", file, &[], &[says]);
            assert!(took < Duration::from_secs(10), "{says}: {took:?}");
        });
    }
    let many = binary(&[section(5, 101, &[0, 1].repeat(101))]);
    cases.add("A18", "101 memories", move || {
        _ = refused("A18", "m.wasm", many, &["-W", "multi-memory"], &["memories"]);
    });
    for (field, options, says) in [
        ("(memory 65536)", &[][..], "--memory"),
        ("(memory 65537)", &[], "invalid"),
        ("(memory i64 0x1000000000)", &["-W", "memory64"], "--memory"),
        ("(memory i64 0x1000000000000)", &["-W", "memory64"], "--memory"),
        ("(memory 4097) (memory 4096)", &["-W", "multi-memory"], "--memory"),
        ("(table 400000000 funcref)", &[], "--memory"),
        ("(table 4294967295 funcref)", &[], "--memory"),
    ] {
        let module = format!("(module {field} {RUN})");
        cases.add("A18", field, move || _ = refused("A18", "m.wat", module, options, &[says]));
    }
    cases
}

#[test]
fn modules_beyond_measure_are_refused_before_they_are_compiled() {
    beyond_measure().run();
}

pub fn proposals() -> Cases {
    let mut cases = Cases::default();
    for (field, says) in [
        ("(memory 1 1 shared)", "threads"),
        ("(type (struct (field i32)))", "-W gc"),
        ("(tag)", "-W exceptions"),
        ("(memory i64 1)", "-W memory64"),
        ("(memory 1) (memory 1)", "-W multi-memory"),
        ("(type $f (func)) (type (cont $f))", "stack switching"),
        ("(memory 1 (pagesize 1))", "custom page sizes"),
        ("(type (array i8))", "-W gc"),
        (
            "(func (result i64 i64) (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)))",
            "-W wide-arithmetic",
        ),
        ("(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))", "-W relaxed-simd"),
        ("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", "threads"),
    ] {
        cases.add("A20", field, move || _ = refused("A20", "m.wat", format!("(module {field} {RUN})"), &[], &[says]));
    }
    for (flag, field) in [
        ("exceptions", "(tag)"),
        ("gc", "(type (struct (field i32)))"),
        ("memory64", "(memory i64 1)"),
        ("multi-memory", "(memory 1) (memory 1)"),
    ] {
        cases.guests([guest("A20", format!("{flag}, switched on"), field, "", "ok:41").with(&["-W", flag])]);
    }
    cases
}

#[test]
fn proposals_that_are_off_are_named() {
    proposals().run();
}

pub fn starts() -> Cases {
    let mut cases = Cases::default();
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    for (imports, body, kind) in [
        ("", "(loop (br 0))", "timeout"),
        ("", "unreachable", "trap"),
        (exit, "(call $exit (i32.const 0))", "exit"),
        (exit, "(call $exit (i32.const 3))", "exit"),
        ("", "(call $s)", "stack-overflow"),
        ("(memory 1)", "(drop (memory.grow (i32.const 60000))) unreachable", "out-of-memory"),
        ("(memory 1)", "(i32.store (i32.const -1) (i32.const 0))", "trap"),
        ("(memory 1) (data (i32.const 65535) \"ab\")", "", "trap"),
        ("(table 1 funcref) (elem (i32.const 1) $s)", "", "trap"),
    ] {
        for initialize in [false, true] {
            let start = if initialize { r#"(export "_initialize" (func $s))"# } else { "(start $s)" };
            let wat = format!(
                r#"(module {imports} (func $s {body}) {start} (func (export "run") (param i32) (result i32) (i32.const 1)))"#
            );
            cases.add("A21", format!("{body} {start}"), move || started(&wat, kind));
        }
    }
    cases
}

fn started(wat: &str, kind: &str) {
    let arena = Arena::new();
    arena.write("m.wat", wat);
    let line = ["run", "m.wat", "--map", "[1,2]", "--output", "records", "--timeout", "500ms", "-j1"];
    let ran = arena.attack("A21", &line);
    assert_eq!(ran.code, Some(1), "{kind}: {}", ran.err);
    let kinds: Vec<_> = ran.records().iter().map(|record| record["kind"].clone()).collect();
    assert_eq!(kinds, [kind, kind], "{}", ran.err);
    for record in ran.records() {
        assert_eq!(record["error"]["detail"]["phase"], "init", "{record}");
    }
}

#[test]
fn start_functions_are_code_of_the_guest() {
    starts().run();
}

pub fn alternating() -> Cases {
    let mut cases = Cases::default();
    cases.add("A23", "fifty runs of two modules", fifty_runs);
    cases
}

#[test]
fn modules_that_alternate_are_found_compiled() {
    alternating().run();
}

fn fifty_runs() {
    let arena = Arena::new();
    for (name, number) in [("a.wat", 1), ("b.wat", 2)] {
        let wat = format!(
            r#"(module (func (export "run") (param i32) (result i32) (i32.mul (local.get 0) (i32.const {number}))))"#
        );
        arena.write(name, wat);
    }
    for round in 0..25 {
        for (name, out) in [("a.wat", "[3,4]\n"), ("b.wat", "[6,8]\n")] {
            let ran = arena.attack("A23", &["run", name, "--map", "[3,4]", "--stats=json"]);
            assert_eq!(ran.out, out);
            let cached = format!("\"cached\":{}", round > 0);
            assert!(ran.err.contains(&cached), "{}", ran.err);
        }
    }
}
