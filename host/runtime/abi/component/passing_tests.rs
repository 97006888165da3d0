//! Values of random types through a guest and back.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::tests::{Bench, run};
use crate::outcome::{Form, Kind};
use crate::value::json::tests::{types, values, written};
use crate::value::ty::Ty;
use crate::wire::message::{BytesAs, ItemForm};

/// So many random types, each with so many values.
const TYPES: usize = 60;
const VALUES: usize = 8;

/// A type in the text format. Types with names are defined and exported
/// beside, as functions that are exported want them.
fn text_of(ty: &Ty, defined: &mut String, count: &mut usize) -> String {
    let mut parts = |ty: &Ty| text_of(ty, defined, count);
    let body = match ty {
        Ty::List(item) => return format!("(list {})", parts(item)),
        Ty::Option(item) => return format!("(option {})", parts(item)),
        Ty::Tuple(types) => {
            return format!("(tuple {})", types.iter().map(parts).collect::<Vec<_>>().join(" "));
        }
        Ty::Result(ok, err) => {
            let ok = ok.as_deref().map(&mut parts).unwrap_or_default();
            let err = err.as_deref().map(|ty| format!("(error {})", parts(ty))).unwrap_or_default();
            return format!("(result {ok} {err})");
        }
        Ty::Record(fields) => {
            let fields = fields.iter().map(|field| format!("(field {:?} {})", field.name, parts(&field.ty)));
            format!("(record {})", fields.collect::<Vec<_>>().join(" "))
        }
        Ty::Variant(cases) => {
            let cases = cases
                .iter()
                .map(|case| format!("(case {:?} {})", case.name, case.ty.as_ref().map(&mut parts).unwrap_or_default()));
            format!("(variant {})", cases.collect::<Vec<_>>().join(" "))
        }
        Ty::Enum(names) => format!("(enum {})", quoted(names)),
        Ty::Flags(names) => format!("(flags {})", quoted(names)),
        plain => return plain.to_string(),
    };
    let number = *count;
    *count += 1;
    writeln!(defined, "(type $shape{number} {body}) (export $type{number} \"type{number}\" (type $shape{number}))")
        .unwrap();
    format!("$type{number}")
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ")
}

/// A component with `list: func(x: list<T>) -> list<T>` and, by way of memory
/// both in and out, `wide: func(x: T, …) -> tuple<T, …>`.
fn echo(ty: &Ty) -> String {
    let (mut defined, mut count) = (String::new(), 0);
    let text = text_of(ty, &mut defined, &mut count);
    let (list, wide) = (format!("(list {text})"), format!("(tuple {text}{})", " u64".repeat(PADDING)));
    let pads: String = (0..PADDING).map(|pad| format!("(param \"p{pad}\" u64)")).collect();
    format!(
        r#"(component
        (core module $m
            (memory (export "m") 1)
            (global $next (mut i32) (i32.const 1024))
            (func (export "r") (param i32 i32) (param $align i32) (param $new i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                (global.set $next (i32.add (local.get $at) (local.get $new)))
                (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
                  (then (drop (memory.grow (i32.add (i32.const 1)
                    (i32.shr_u (i32.sub (global.get $next) (i32.shl (memory.size) (i32.const 16))) (i32.const 16)))))))
                (local.get $at))
            (func (export "list") (param i32 i32) (result i32)
                (i32.store (i32.const 64) (local.get 0))
                (i32.store (i32.const 68) (local.get 1))
                (i32.const 64))
            (func (export "wide") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (alias core export $i "m" (core memory $memory))
        (alias core export $i "r" (core func $realloc))
        {defined}
        (func (export "list") (param "x" {list}) (result {list})
            (canon lift (core func $i "list") (memory $memory) (realloc $realloc)))
        (func (export "wide") (param "x" {text}) {pads} (result {wide})
            (canon lift (core func $i "wide") (memory $memory) (realloc $realloc))))"#
    )
}

/// More flat values than a call takes.
const PADDING: usize = 17;

#[test]
fn values_of_any_type_come_back_as_they_went_in() {
    let mut runner = TestRunner::deterministic();
    let pads = ",7".repeat(PADDING);
    for _ in 0..TYPES {
        let ty = types().new_tree(&mut runner).unwrap().current();
        let component = echo(&ty);
        let load = |name: &str| Bench::new(&component).function(name).load().unwrap().0;
        let (mut list, mut wide) = (load("list"), load("wide"));
        let items = prop::collection::vec(values(&ty), 0..VALUES).new_tree(&mut runner).unwrap().current();
        let texts: Vec<String> = items.iter().map(|value| written(value, &ty, BytesAs::Array)).collect();
        for text in &texts {
            let item = format!("[{text}{pads}]");
            let (report, back) = run(&mut wide, item.as_bytes(), ItemForm::Json);
            assert_eq!((report.result, back), (Ok(Form::Json), item), "{ty}");
        }
        let item = format!("[{}]", texts.join(","));
        let (report, back) = run(&mut list, item.as_bytes(), ItemForm::Json);
        assert_eq!((report.result, back), (Ok(Form::Json), item), "{ty}");
    }
}

#[test]
fn what_is_absent_is_not_charged_to_the_result() {
    let large = Ty::Option(Box::new(Ty::Tuple(vec![Ty::U64; 60])));
    let item = format!("[null{}]", ",null".repeat(5000));
    let bench = Bench::new(&echo(&large)).function("list").with(|task| task.limits.max_result = item.len() as u64);
    let (report, text) = run(&mut bench.load().unwrap().0, item.as_bytes(), ItemForm::Json);
    // 61 words for each would be more than a result of this size may cost.
    assert_eq!((report.result, text == item), (Ok(Form::Json), true));
}

/// What a function gets as flat values, it gives back as a list; a text goes
/// in Latin-1 or UTF-16 as the guest wants.
const SEEN: &str = r#"(component
    (core module $m
        (memory (export "m") 1)
        (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 512))
        (func (export "case") (param i32 i64 i32 i32) (result i32)
            (i64.store (i32.const 128) (i64.extend_i32_u (local.get 0)))
            (i64.store (i32.const 136) (local.get 1))
            (i64.store (i32.const 144) (i64.extend_i32_u (local.get 2)))
            (i64.store (i32.const 152) (i64.extend_i32_u (local.get 3)))
            (i32.store (i32.const 64) (i32.const 128))
            (i32.store (i32.const 68) (i32.const 4))
            (i32.const 64))
        (func (export "wrong") (result i32)
            (i32.store8 (i32.const 64) (i32.const 3))
            (i32.const 64))
        (func (export "flag") (result i32) (i32.const 0xfffffffd))
        (func (export "char") (result i32) (i32.const 0xd800))
        (func (export "odd") (result i32) (i32.const 65))
        (func (export "far") (result i32) (i32.const 65532))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 64) (local.get 0))
            (i32.store (i32.const 68) (local.get 1))
            (i32.const 64)))
    (core instance $i (instantiate $m))
    (alias core export $i "m" (core memory $memory))
    (alias core export $i "r" (core func $realloc))
    (type $shape-cases (variant (case "none") (case "real" f64) (case "small" s8) (case "text" string)))
    (export $shape "shape" (type $shape-cases))
    (type $rights-names (flags "read" "write"))
    (export $rights "rights" (type $rights-names))
    (type $grade-names (enum "low" "high"))
    (export $grade "grade" (type $grade-names))
    (func (export "case") (param "shape" $shape) (param "access" $rights) (result (list u64))
        (canon lift (core func $i "case") (memory $memory) (realloc $realloc)))
    (func (export "wrong") (result (option u32)) (canon lift (core func $i "wrong") (memory $memory)))
    (func (export "level") (result $grade) (canon lift (core func $i "odd")))
    (func (export "flag") (result $rights) (canon lift (core func $i "flag")))
    (func (export "char") (result char) (canon lift (core func $i "char")))
    (func (export "odd") (result (tuple u32 u32)) (canon lift (core func $i "odd") (memory $memory)))
    (func (export "far") (result (tuple u32 u32)) (canon lift (core func $i "far") (memory $memory)))
    (func (export "utf16") (param "x" string) (result string)
        (canon lift (core func $i "echo") (memory $memory) (realloc $realloc) string-encoding=utf16))
    (func (export "latin1") (param "x" string) (result string)
        (canon lift (core func $i "echo") (memory $memory) (realloc $realloc) string-encoding=latin1+utf16)))"#;

#[test]
fn cases_and_flags_are_flat_values_as_the_guest_expects_them() {
    let mut guest = Bench::new(SEEN).function("case").load().unwrap().0;
    let mut seen = |item: &str| run(&mut guest, item.as_bytes(), ItemForm::Json).1;
    assert_eq!(seen(r#"[{"tag":"none"},["write"]]"#), "[0,0,0,2]");
    assert_eq!(seen(r#"[{"tag":"real","val":1.5},[]]"#), "[1,4609434218613702656,0,0]");
    assert_eq!(seen(r#"[{"tag":"small","val":-1},["read","write"]]"#), "[2,4294967295,0,3]");
    assert_eq!(seen(r#"[{"tag":"text","val":"é"},["read"]]"#), "[3,512,2,1]");
}

#[test]
fn strings_pass_in_the_guests_encoding() {
    for name in ["utf16", "latin1"] {
        let mut guest = Bench::new(SEEN).function(name).load().unwrap().0;
        for text in ["\"\"", "\"plain\"", "\"é😀\"", "\"naïve\""] {
            assert_eq!(run(&mut guest, text.as_bytes(), ItemForm::Json).1, text, "{name}");
        }
    }
}

#[test]
fn results_outside_of_their_type_are_bad_output() {
    let result = |name: &str| {
        let mut guest = Bench::new(SEEN).function(name).load().unwrap().0;
        let (report, text) = run(&mut guest, b"null", ItemForm::Json);
        report.result.map(|_| text).map_err(|failure| (failure.kind, failure.message))
    };
    assert_eq!(result("flag"), Ok("[\"read\"]".to_owned()));
    for (name, why) in [
        ("wrong", "discriminant 3 out of range [0..2)"),
        ("level", "discriminant 65 out of range [0..2)"),
        ("char", "converted integer out of range for `char`"),
        ("odd", "return pointer not aligned"),
        ("far", "pointer out of bounds of memory"),
    ] {
        let (kind, message) = result(name).unwrap_err();
        assert_eq!(kind, Kind::BadOutput, "{name}");
        assert!(message.ends_with(why), "{name}: {message}");
    }
}
