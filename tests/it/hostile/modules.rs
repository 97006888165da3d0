//! A: files that claim to be modules.

use std::fmt::Write;
use std::time::Duration;

use super::Arena;

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

#[test]
fn files_that_are_no_modules_are_refused() {
    let mut noise = b"\0asm\x01\0\0\0".to_vec();
    let mut state = 7_u32;
    noise.extend((0..1 << 20).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    refused("A01", "empty.wasm", b"", &[], &["is empty"]);
    refused("A02", "cut.wasm", b"\0asm", &[], &["cut short"]);
    refused("A02", "version.wasm", b"\0asm\x09\0\0\0", &[], &["version"]);
    refused("A03", "noise.wasm", &noise, &[], &["invalid"]);
    refused("A03", "native.wasm", b"\x7fELF\x02\x01\x01", &[], &["compiled artifact or a native program"]);
    refused("A03", "packed.wasm", b"\x1f\x8b\x08\0\0\0\0\0", &[], &["unpack"]);
    refused("A04", "text.wasm", b"(module (func (export \"run\") (drop)))", &[], &["invalid"]);
    refused("A04", "text.wasm", "(module \x1b[31m \u{202e} oops)", &[], &["line 1"]);
    refused("A04", "deep.wat", "(".repeat(1 << 20), &[], &[]);
    refused("A04", "deep.wat", format!("(module (func {}", "(block ".repeat(1 << 18)), &[], &[]);
}

#[test]
fn text_is_taken_whatever_its_name_is() {
    let arena = Arena::new();
    arena.write("text.wasm", "(module (func (export \"run\") (param i32) (result i32) (local.get 0)))");
    let ran = arena.attack("A04", &["run", "text.wasm", "--map", "[7]"]);
    assert_eq!(ran.out, "[7]\n", "{}", ran.err);
}

#[test]
fn modules_that_do_not_fit_are_refused() {
    let run = r#"(func (export "run") (param i32) (result i32) (local.get 0))"#;
    refused("A05", "core.wat", format!("(module {run})"), &["--abi", "component"], &["component"]);
    refused("A05", "component.wat", "(component)", &["--abi", "core"], &[]);
    refused("A09", "m.wat", format!(r#"(module (import "env" "evil" (func)) {run})"#), &[], &["env", "evil"]);
    refused("A09", "m.wat", format!(r#"(module (import "env" "m" (memory 1)) {run})"#), &[], &["env"]);
    refused(
        "A09",
        "m.wat",
        format!(r#"(module (import "wasi_unstable" "fd_write" (func)) {run})"#),
        &[],
        &["wasi_unstable"],
    );
    refused("A11", "m.wat", format!("(module {run})"), &["--invoke", "absent"], &["absent"]);
    let memory = format!(r#"(module (memory (export "m") 1) {run})"#);
    refused("A11", "m.wat", memory, &["--invoke", "m"], &["m"]);
    let reference = r#"(module (func (export "run") (param v128)))"#;
    refused("A11", "m.wat", reference, &[], &["v128"]);
}

#[test]
fn names_are_escaped_and_cut() {
    let nasty = r"\1b]0;owned\07\n{\22ok\22:1}\00\e2\80\ae";
    let run = r#"(func (export "run") (param i32) (result i32) (local.get 0))"#;
    let import = |name: &str| format!(r#"(module (import "{name}" "{name}" (func)) {run})"#);
    refused("A12", "m.wat", import(nasty), &[], &["import"]);
    refused("A12", "m.wat", import(&"x".repeat(100_000)), &[], &[]);
    refused("A12", "m.wat", import(&nasty.repeat(500)), &[], &[]);
    let exports = |name: &str| format!(r#"(module (func (export "{name}") unreachable) (func (export "b")))"#);
    refused("A12", "m.wat", exports(nasty), &["--invoke", "c"], &["did you mean"]);
    refused("A12", "m.wat", exports(nasty), &[], &["--invoke"]);
    refused("A12", "m.wat", exports(&"x".repeat(100_000)), &[], &["--invoke"]);

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
fn bombs_for_the_compiler_end_at_its_clock() {
    // Loops in loops, and many locals that live through all of them.
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
    let took = refused("A13", "bomb.wasm", one_function(&code), &["--compile-timeout", "1s"], &["--compile-timeout"]);
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The next module runs.
    super::Guest { id: "A13", name: "next", fields: "", body: "", options: &[], expected: "ok:41" }.attacks();
}

#[test]
fn modules_beyond_measure_are_refused_before_they_are_compiled() {
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
        ("A14", one_function(&nest(6_000)), "nests blocks more than 5000 deep"),
        ("A14", one_function(&nest(1_000_000)), "nests blocks more than 5000 deep"),
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
        let took = refused(id, "m.wasm", file, &[], &[says]);
        assert!(took < Duration::from_secs(5), "{says}: {took:?}");
    }
    let many = binary(&[section(5, 101, &[0, 1].repeat(101))]);
    refused("A18", "m.wasm", many, &["-W", "multi-memory"], &["memories"]);
    let run = r#"(func (export "run") (param i32) (result i32) (local.get 0))"#;
    refused("A18", "m.wat", format!("(module (memory 65536) {run})"), &[], &["--memory"]);
    refused("A18", "m.wat", format!("(module (table 400000000 funcref) {run})"), &[], &["--memory"]);
}

#[test]
fn proposals_that_are_off_are_named() {
    let run = r#"(func (export "run") (param i32) (result i32) (local.get 0))"#;
    for (field, says) in [
        ("(memory 1 1 shared)", "threads"),
        ("(type (struct (field i32)))", "-W gc"),
        ("(tag)", "-W exceptions"),
        ("(memory i64 1)", "-W memory64"),
        ("(memory 1) (memory 1)", "-W multi-memory"),
        ("(type $f (func)) (type (cont $f))", "stack switching"),
        ("(memory 1 (pagesize 1))", "custom page sizes"),
    ] {
        refused("A20", "m.wat", format!("(module {field} {run})"), &[], &[says]);
    }
}

#[test]
fn start_functions_are_code_of_the_guest() {
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    for (imports, body, kind) in [
        ("", "(loop (br 0))", "timeout"),
        ("", "unreachable", "trap"),
        (exit, "(call $exit (i32.const 0))", "exit"),
        ("", "(call $s)", "stack-overflow"),
    ] {
        let arena = Arena::new();
        let wat = format!(
            r#"(module {imports} (func $s {body}) (start $s) (func (export "run") (param i32) (result i32) (i32.const 1)))"#
        );
        arena.write("m.wat", wat);
        let line = ["run", "m.wat", "--map", "[1,2]", "--output", "records", "--timeout", "500ms", "-j1"];
        let ran = arena.attack("A21", &line);
        assert_eq!(ran.code, Some(1), "{kind}: {}", ran.err);
        let kinds: Vec<_> = ran.records().iter().map(|record| record["kind"].clone()).collect();
        assert_eq!(kinds, [kind, kind], "{}", ran.err);
    }
}

#[test]
fn modules_that_alternate_are_found_compiled() {
    let arena = Arena::new();
    for (name, number) in [("a.wat", 1), ("b.wat", 2)] {
        let wat = format!(
            r#"(module (func (export "run") (param i32) (result i32) (i32.mul (local.get 0) (i32.const {number}))))"#
        );
        arena.write(name, wat);
    }
    for round in 0..10 {
        for (name, out) in [("a.wat", "[3,4]\n"), ("b.wat", "[6,8]\n")] {
            let ran = arena.attack("A23", &["run", name, "--map", "[3,4]", "--stats=json"]);
            assert_eq!(ran.out, out);
            let mut cached = String::new();
            write!(cached, "\"cached\":{}", round > 0).unwrap();
            assert!(ran.err.contains(&cached), "{}", ran.err);
        }
    }
}
