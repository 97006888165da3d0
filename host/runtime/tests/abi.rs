//! How items become calls and calls become values.

use super::{Bench, command, core, exact, load, must_load, program, refusal, spec};
use crate::limits::{Isolation, Tighter};
use crate::outcome::{Form, JsonText, Kind};
use crate::runtime::TaskInput;
use crate::wire::message::{Abi, Encode, ItemAs, ItemForm, ResultAs, Spread, TaskSpec};
use crate::wire::page::Stream;

#[test]
fn core_functions_take_and_give_numbers() {
    let wat = r#"(module (func (export "double") (param i32) (result i32)
        (i32.mul (local.get 0) (i32.const 2))))"#;
    let mut bench = must_load(wat, core("double"));
    assert_eq!(bench.value("21"), "42");
    assert_eq!(bench.value("4294967295"), "-2", "an unsigned argument keeps its bits");
    let failure = bench.failure("4294967296");
    assert_eq!(failure.kind, Kind::BadInput);
    assert_eq!(failure.detail.path.as_deref(), Some("$"));
}

#[test]
fn core_functions_of_each_type_and_several_results() {
    let wat = r#"(module (func (export "all") (param i32 i64 f32 f64) (result i32 i64 f32 f64)
        (local.get 0) (local.get 1) (local.get 2) (local.get 3)))"#;
    let mut bench = must_load(wat, TaskSpec { spread: Spread::Star, ..core("all") });
    assert_eq!(bench.value(r#"[-1, "9223372036854775807", 1.5, 0.1]"#), "[-1,9223372036854775807,1.5,0.1]");
    assert_eq!(bench.value(r#"[1, 2, "nan", "-inf"]"#), r#"[1,2,"nan","-inf"]"#);
    assert_eq!(bench.kind("[1,2,3]"), Kind::BadInput);
}

#[test]
fn a_function_without_results_gives_null() {
    let mut bench = must_load(r#"(module (func (export "f") (param i32)))"#, core("f"));
    assert_eq!(bench.value("1"), "null");
}

#[test]
fn a_function_that_does_not_fit_is_refused_at_load() {
    let wat = r#"(module (func (export "v") (param v128)) (func (export "two") (param i32 i32))
        (memory (export "m") 1))"#;
    assert!(refusal(wat, core("v")).contains("v128"));
    assert!(refusal(wat, core("two")).contains("--starmap"));
    assert!(refusal(wat, core("none")).contains("\"none\""));
    assert!(refusal(wat, core("m")).contains("\"m\""));
}

/// Allocates upwards from 1024 and echoes; `mode` is the item's first byte.
const ECHO: &str = r#"(module
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func (export "alloc") (param $length i32) (result i32)
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get $length))))
    (func (export "echo") (param $at i32) (param $length i32) (result i64)
      (local $mode i32)
      (local.set $mode (i32.load8_u (local.get $at)))
      (if (i32.eq (local.get $mode) (i32.const 69)) ;; E
        (then (local.set $length (i32.or (local.get $length) (i32.const 0x80000000)))))
      (if (i32.eq (local.get $mode) (i32.const 87)) ;; W
        (then (local.set $at (i32.const 0x7fffffff))))
      (if (i32.eq (local.get $mode) (i32.const 76)) ;; L
        (then (local.set $length (i32.const 0x7fffffff))))
      (i64.or
        (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
        (i64.extend_i32_u (local.get $length)))))"#;

fn bytes(result: ResultAs) -> TaskSpec {
    TaskSpec { result: Some(result), ..spec(Abi::Bytes, "echo") }
}

#[test]
fn byte_functions_get_a_strings_characters_and_give_json() {
    let mut bench = must_load(ECHO, spec(Abi::Bytes, "echo"));
    assert_eq!(bench.value(r#""[1,  2]""#), "[1,2]", "compacted to one line");
    assert_eq!(bench.value(r#"{"a": "x  y"}"#), r#"{"a":"x  y"}"#);
    assert_eq!(bench.kind(r#""no json""#), Kind::BadOutput);
}

#[test]
fn deep_json_from_a_guest_does_not_overflow_the_host() {
    let mut bench = must_load(ECHO, spec(Abi::Bytes, "echo"));
    assert_eq!(bench.kind(&format!("\"{}\"", "[".repeat(50_000))), Kind::BadOutput);
}

#[test]
fn byte_results_as_text_and_bytes() {
    let mut text = must_load(ECHO, bytes(ResultAs::Text));
    assert_eq!(text.value(r#""a\n\"b""#), r#""a\n\"b""#);
    let (report, _) = text.report(b"\xff", ItemForm::Raw, 0);
    assert_eq!(report.result.unwrap_err().kind, Kind::BadOutput);

    let mut bytes_json = must_load(ECHO, bytes(ResultAs::Bytes));
    assert_eq!(bytes_json.value(r#""hi""#), r#"{"base64":"aGk="}"#);

    let mut raw = must_load(ECHO, TaskSpec { encode: Encode::Exact, ..bytes(ResultAs::Bytes) });
    assert_eq!(exact(&mut raw, r#""hi""#), (Form::Bytes, b"hi".to_vec()));
}

#[test]
fn item_as_json_keeps_the_quotes() {
    let mut bench = must_load(ECHO, TaskSpec { item_as: ItemAs::Json, ..bytes(ResultAs::Text) });
    assert_eq!(bench.value(r#""hi""#), r#""\"hi\"""#);
}

#[test]
fn the_error_bit_makes_an_error_outcome() {
    let mut bench = must_load(ECHO, bytes(ResultAs::Text));
    let failure = bench.failure(r#""Eoops""#);
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Error, "Eoops"));
    assert_eq!(failure.detail.value, JsonText::new("\"Eoops\""));
}

#[test]
fn results_outside_memory_are_bad_output_and_large_ones_too_large() {
    let mut bench = must_load(ECHO, bytes(ResultAs::Text));
    assert_eq!(bench.kind(r#""Wild pointer""#), Kind::BadOutput);
    assert_eq!(bench.kind(r#""Long""#), Kind::BadOutput);
    assert_eq!(bench.value(r#""fine""#), r#""fine""#, "the worker goes on");

    let mut small = bytes(ResultAs::Text);
    small.limits.max_result = 8;
    let mut bench = must_load(ECHO, small);
    assert_eq!(bench.value(r#""123456""#), r#""123456""#);
    let failure = bench.failure(r#""1234567890""#);
    assert_eq!(failure.kind, Kind::ResultTooLarge);
    assert_eq!(failure.detail.limit.as_ref().map(|hit| hit.flag.as_str()), Some("--max-result"));
}

#[test]
fn an_item_that_the_allocator_has_no_room_for_is_bad_output_not_a_crash() {
    let mut bench = must_load(ECHO, bytes(ResultAs::Text));
    assert_eq!(bench.kind(&format!("\"{}\"", "x".repeat(70_000))), Kind::BadOutput);
}

#[test]
fn cabi_realloc_allocates_too() {
    let wat =
        ECHO.replace(r#""alloc") (param $length i32)"#, r#""cabi_realloc") (param i32 i32 i32) (param $length i32)"#);
    let mut bench = must_load(&wat, bytes(ResultAs::Text));
    assert_eq!(bench.value(r#""hi""#), r#""hi""#);
    assert!(bench.description.allocator.as_ref().is_some_and(|allocator| allocator.realloc));
}

#[test]
fn fresh_instances_forget_and_reused_ones_remember() {
    let wat = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "next") (param i32) (result i32)
          (if (i32.eq (local.get 0) (i32.const 13)) (then unreachable))
          (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;
    let mut fresh = must_load(wat, core("next"));
    assert_eq!([fresh.value("0"), fresh.value("0")], ["1", "1"]);
    let mut reuse = must_load(wat, TaskSpec { isolation: Isolation::Reuse, ..core("next") });
    assert_eq!([reuse.value("0"), reuse.value("0")], ["1", "2"]);
    assert_eq!(reuse.kind("13"), Kind::Trap);
    assert_eq!(reuse.value("0"), "1", "a trap replaces the instance");
    assert_eq!(reuse.kind("\"x\""), Kind::BadInput);
    assert_eq!(reuse.value("0"), "2", "an item that does not fit leaves it");
}

#[test]
fn memory_and_tables_start_clean_in_fresh_instances() {
    let wat = r#"(module (memory 1) (table 4 funcref) (elem declare func $f)
        (data (i32.const 0) "\07")
        (func $f)
        (func (export "look") (param i32) (result i32 i32 i32)
          (i32.load8_u (i32.const 0)) (i32.load8_u (i32.const 60000)) (ref.is_null (table.get (i32.const 1)))
          (i32.store8 (i32.const 0) (i32.const 9)) (i32.store8 (i32.const 60000) (i32.const 9))
          (table.set (i32.const 1) (ref.func $f))))"#;
    let mut bench = must_load(wat, core("look"));
    for _ in 0..40 {
        assert_eq!(bench.value("0"), "[7,0,1]");
    }
}

#[test]
fn reused_byte_results_are_freed() {
    let wat = ECHO.replace(
        "(func (export \"echo\")",
        r#"(func (export "dealloc") (param i32 i32) (global.set $top (i32.const 1024)))
           (func (export "top") (param i32) (result i32) (global.get $top))
           (func (export "echo")"#,
    );
    let mut task = bytes(ResultAs::Text);
    task.isolation = Isolation::Reuse;
    let mut bench = must_load(&wat, task);
    for _ in 0..100 {
        assert_eq!(bench.value(&format!("\"{}\"", "x".repeat(4_000))).len(), 4_002);
    }
}

fn cat() -> String {
    program(
        r#"(func (export "_start") (local $n i32)
          (loop $again
            (local.set $n (call $read (i32.const 1024) (i32.const 4096)))
            (if (local.get $n) (then
              (call $write (i32.const 1) (i32.const 1024) (local.get $n))
              (br $again)))))"#,
    )
}

#[test]
fn commands_read_items_and_print_results() {
    let mut bench = must_load(&cat(), command());
    assert!(bench.description.command);
    assert_eq!(bench.value(r#""line\n""#), r#""line""#, "one final newline is removed");
    assert_eq!(bench.value(r#"{"a":1}"#), r#""{\"a\":1}""#);
    let large = "y".repeat(100_000);
    assert_eq!(bench.value(&format!("\"{large}\"")), format!("\"{large}\""));
    assert_eq!(bench.value("1"), r#""1""#, "nothing is left of the item before");
    let (report, _) = bench.report(b"x", ItemForm::Raw, 0);
    assert!(report.stdout_is_result);
}

#[test]
fn command_results_as_json_and_bytes() {
    let mut json = must_load(&cat(), TaskSpec { result: Some(ResultAs::Json), ..command() });
    assert_eq!(json.value("[1, 2]"), "[1,2]");
    assert_eq!(json.kind(r#""{""#), Kind::BadOutput);
    let task = TaskSpec { result: Some(ResultAs::Bytes), encode: Encode::Exact, ..command() };
    let mut raw = must_load(&cat(), task);
    assert_eq!(exact(&mut raw, r#""a\n""#), (Form::Bytes, b"a\n".to_vec()));
}

/// Prints its second argument.
fn print_argument() -> String {
    program(
        r#"(func (export "_start") (local $at i32) (local $end i32)
          (drop (call $args_get (i32.const 512) (i32.const 1024)))
          (local.set $at (i32.load (i32.const 516)))
          (local.set $end (local.get $at))
          (loop $again
            (if (i32.load8_u (local.get $end)) (then
              (local.set $end (i32.add (local.get $end) (i32.const 1))) (br $again))))
          (call $write (i32.const 1) (local.get $at) (i32.sub (local.get $end) (local.get $at))))"#,
    )
    .replacen(
        "(module",
        r#"(module (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))"#,
        1,
    )
}

#[test]
fn placeholders_put_items_into_arguments() {
    let with = |argv: &str| TaskSpec { argv: vec![argv.to_owned()], ..command() };
    assert_eq!(must_load(&print_argument(), with("--name={}")).value(r#""a b""#), r#""--name=a b""#);
    assert_eq!(must_load(&print_argument(), with("{2}-{1}")).value(r#"["x", 7]"#), r#""7-x""#);
    let mut indexed = must_load(&print_argument(), with("{index}{x}"));
    let (_, out) = indexed.report(b"1", ItemForm::Json, 41);
    assert_eq!(out, br#""41{x}""#);
    assert_eq!(must_load(&print_argument(), with("{1}")).kind("3"), Kind::BadInput);
    assert_eq!(must_load(&print_argument(), with("{}")).kind(r#""a\u0000b""#), Kind::BadInput);
}

#[test]
fn files_keep_their_contents_on_stdin_beside_their_path() {
    let task = TaskSpec { argv: vec!["{}".to_owned()], ..command() };
    let mut bench: Bench = must_load(&cat(), task);
    let run = |bench: &mut Bench, path| {
        let mut out = Vec::new();
        let input = TaskInput {
            function: 0,
            index: 0,
            attempt: 1,
            item: b"contents",
            form: ItemForm::Raw,
            path,
            tighter: Tighter::default(),
        };
        bench.guest.run(&input, &mut out).result.expect("a value");
        String::from_utf8(out).expect("text")
    };
    assert_eq!(run(&mut bench, Some("docs/a.txt")), r#""contents""#);
    assert_eq!(run(&mut bench, None), r#""""#, "an item in the arguments leaves stdin empty");
}

#[test]
fn a_failed_commands_partial_output_is_in_the_tail() {
    let wat = program(
        r#"(data (i32.const 64) "partial") (func (export "_start")
          (call $write (i32.const 1) (i32.const 64) (i32.const 7)) unreachable)"#,
    );
    let mut bench = must_load(&wat, command());
    assert_eq!(bench.kind("1"), Kind::Trap);
    assert_eq!(bench.printed(Stream::Stdout), "partial");
}

#[test]
fn a_named_export_runs_as_a_command() {
    let wat = program(
        r#"(data (i32.const 64) "named") (func (export "main")
          (call $write (i32.const 1) (i32.const 64) (i32.const 5)))
          (func (export "f") (param i32))"#,
    );
    assert_eq!(must_load(&wat, spec(Abi::Command, "main")).value("1"), r#""named""#);
    assert!(load(&wat, spec(Abi::Command, "f")).is_err());
}
