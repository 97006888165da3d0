//! What is refused before it is compiled, and what descriptions say.

use super::{compile_setup, core, load, spec};
use crate::describe::{Description, Grant};
use crate::limits::Features;
use crate::runtime::compile;
use crate::wire::message::{Abi, RefusalCause, TaskSpec};

fn refused(file: &[u8]) -> String {
    let refusal = compile(file, &compile_setup(&core("f"))).expect_err("refused");
    assert_eq!(refusal.cause, RefusalCause::Module);
    refusal.message
}

fn described(wat: &str) -> Description {
    compile(wat.as_bytes(), &compile_setup(&core("f"))).expect("compiles").0
}

#[test]
fn files_that_are_no_modules_say_why() {
    assert!(refused(b"").contains("empty"));
    assert!(refused(b"\0as").contains("cut short"));
    assert!(refused(b"\0asm\x01\0").contains("cut short"));
    assert!(refused(b"\0asm\x09\0\0\0").contains("version"));
    assert!(refused(b"\x7fELF....").contains("native"));
    assert!(refused(b"\x1f\x8b....").contains("compressed"));
    assert!(refused(b"#!/bin/sh").contains("neither"));
    assert!(refused(&[0xff; 64]).contains("neither"));
}

#[test]
fn text_errors_have_line_and_column() {
    let text = refused(b"(module\n  (func (export \"f\") (i32.bogus)))");
    assert!(text.contains("line 2") && text.contains("column"), "{text}");
}

#[test]
fn an_invalid_module_says_where() {
    let text = refused(b"(module (func (export \"f\") (result i32)))");
    assert!(text.contains("invalid") && text.contains("0x"), "{text}");
}

#[test]
fn a_truncated_module_is_refused() {
    let whole = wat::parse_str("(module (func (export \"f\") (param i32)))").expect("parses");
    for end in 8..whole.len() {
        // Cut between sections it may be a valid, empty module.
        let _ = compile(&whole[..end], &compile_setup(&core("f")));
    }
    assert!(refused(&whole[..whole.len() - 1]).contains("invalid"));
}

#[test]
fn each_feature_that_is_off_names_its_flag() {
    let cases = [
        ("exceptions", "(module (tag))"),
        ("gc", "(module (type (struct)))"),
        ("memory64", "(module (memory i64 1))"),
        ("multi-memory", "(module (memory 1) (memory 1))"),
        (
            "relaxed-simd",
            "(module (func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
        ),
        (
            "wide-arithmetic",
            "(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1))))",
        ),
    ];
    assert_eq!(cases.map(|(name, _)| name), Features::NAMES);
    for (name, wat) in cases {
        let text = refused(wat.as_bytes());
        assert!(text.contains(&format!("-W {name}")), "{text}");
        assert_eq!(text.matches("-W ").count(), 1, "{text}");
        let mut features = Features::default();
        features.enable(name);
        let wat = wat.replacen("(module", r#"(module (func (export "f") (param i32))"#, 1);
        let mut bench = load(&wat, TaskSpec { features, ..core("f") }).expect("loads with its flag");
        assert_eq!(bench.value("1"), "null", "{name}");
    }
}

#[test]
fn unsupported_proposals_are_named() {
    let text = refused(b"(module (memory 1 1 shared))");
    assert!(text.contains("threads"), "{text}");
}

#[test]
fn structures_that_only_waste_time_are_refused() {
    let functions = |count| format!("(module {})", "(func)".repeat(count));
    assert!(refused(functions(500_001).as_bytes()).contains("500001 functions"));
    assert!(refused(functions(100_001).as_bytes()).contains("100001 functions of"));
    assert!(refused(&nested(101_000)).contains("deep"));
    assert!(compile(&nested(30_000), &compile_setup(&core("f"))).is_ok());
}

/// A module with one function of this many nested blocks.
fn nested(blocks: usize) -> Vec<u8> {
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
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(blocks));
    body.extend([0x0b].repeat(blocks + 1));
    let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a".to_vec();
    let mut code = vec![1];
    leb(body.len(), &mut code);
    code.extend(body);
    leb(code.len(), &mut module);
    module.extend(code);
    module
}

#[test]
fn a_description_lists_everything() {
    let description = described(
        r#"(module
          (import "wasi_snapshot_preview1" "path_open"
            (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
          (import "env" "x" (func))
          (memory (export "memory") 2) (table 10 funcref)
          (func (export "_start")) (func (export "_initialize"))
          (func (export "malloc") (param i32) (result i32) (i32.const 0))
          (func (export "free") (param i32))
          (func (export "a b:c") (param i32 f64) (result i64) (i64.const 0)))"#,
    );
    assert!(description.command && description.initialize && description.exports_memory);
    assert_eq!(description.memory_minimum, 2 * 65536 + 80);
    assert_eq!((description.needs.instances, description.needs.memories, description.needs.tables), (1, 1, 1));
    assert_eq!(description.needs.table_elements, 10);
    assert_eq!(description.allocator.map(|found| found.name).as_deref(), Some("malloc"));
    assert_eq!(description.deallocator.as_deref(), Some("free"));
    let shown: Vec<_> = description.functions.iter().filter(|f| !f.hidden).map(|f| f.name.as_str()).collect();
    assert_eq!(shown, ["a b:c"]);
    assert_eq!(description.functions.len(), 5);
    assert_eq!(description.functions[4].ty.to_string(), "func(0: i32, 1: f64) -> i64");
    let grants: Vec<_> = description.imports.into_iter().map(|import| import.grant).collect();
    assert_eq!(grants, [Grant::Flag("--dir".to_owned()), Grant::Always, Grant::Unknown]);
}

#[test]
fn an_artifact_of_another_configuration_is_stale() {
    let mut task = core("f");
    let (description, artifact) =
        compile(b"(module (func (export \"f\") (param i32)))", &compile_setup(&task)).expect("compiles");
    task.limits.fuel = Some(1);
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, &artifact).expect("written");
    let setup = crate::wire::message::RunSetup {
        host: 0,
        sandbox: crate::limits::SandboxMode::Off,
        slot: 0,
        description,
        task,
        scratch: None,
    };
    let page = std::sync::Arc::new(crate::wire::page::Page::create(0).expect("a page").0);
    let refusal = crate::runtime::Guest::load(&file, &setup, page, None).map(|_| ()).expect_err("stale");
    assert_eq!(refusal.cause, RefusalCause::Stale);
}

#[test]
fn big_tables_get_their_slots() {
    let wat = r#"(module (table 70000 funcref) (func (export "f") (param i32) (result i32) (table.size)))"#;
    assert_eq!(load(wat, core("f")).expect("loads").value("1"), "70000");
}

#[test]
fn a_bytes_function_without_an_allocator_is_refused() {
    let wat = r#"(module (memory (export "memory") 1) (func (export "f") (param i32 i32) (result i64) (i64.const 0)))"#;
    let text = load(wat, spec(Abi::Bytes, "f")).map(|_| ()).expect_err("refused").message;
    assert!(text.contains("malloc"), "{text}");
}
