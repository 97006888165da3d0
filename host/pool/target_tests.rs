//! Tests of function choice.

use super::*;
use crate::describe::{Allocator, Import};
use crate::value::ty::{Field, FuncTy};

fn function(name: &str, params: &[(&str, Ty)], results: &[Ty]) -> Function {
    let params = params.iter().map(|(name, ty)| Field { name: (*name).to_owned(), ty: ty.clone() }).collect();
    Function { interface: None, name: name.to_owned(), ty: FuncTy { params, results: results.to_vec() }, hidden: false }
}

fn hidden(name: &str) -> Function {
    Function { hidden: true, ..function(name, &[], &[]) }
}

fn inside(interface: &str, name: &str) -> Function {
    Function { interface: Some(interface.to_owned()), ..unary(name) }
}

fn unary(name: &str) -> Function {
    function(name, &[("text", Ty::String)], &[Ty::U32])
}

fn binary(name: &str) -> Function {
    function(name, &[("a", Ty::U32), ("b", Ty::U32)], &[Ty::U32])
}

fn bytes(name: &str) -> Function {
    function(name, &[("0", Ty::I32), ("1", Ty::I32)], &[Ty::I64])
}

fn component(functions: Vec<Function>) -> Description {
    Description { shape: Shape::Component, functions, ..Description::default() }
}

fn core(functions: Vec<Function>) -> Description {
    let allocator = Some(Allocator { name: "alloc".to_owned(), realloc: false });
    Description { functions, allocator, exports_memory: true, ..Description::default() }
}

const MAP: Choice<'static> =
    Choice { invoke: None, abi: None, spread: Spread::One, with: &[], stub_imports: false, memory: 1 << 20 };

fn chosen(description: &Description, choice: &Choice<'_>) -> (Abi, String) {
    let target = choose(description, choice).unwrap();
    (target.abi, target.name)
}

fn refusal(description: &Description, choice: &Choice<'_>) -> String {
    match choose(description, choice) {
        Err(Error::Module(text)) => text,
        other => panic!("not a refusal of the module: {other:?}"),
    }
}

#[test]
fn the_sole_candidate_is_called_even_beside_start_and_plumbing() {
    let mut module = core(vec![hidden("malloc"), unary("count"), hidden("__data_end")]);
    module.command = true;
    assert_eq!(chosen(&module, &MAP), (Abi::Core, "count".to_owned()));
}

#[test]
fn run_wins_among_several_and_start_comes_last() {
    let module = component(vec![unary("a"), unary("run"), unary("b")]);
    assert_eq!(chosen(&module, &MAP).1, "run");
    let mut module = component(vec![unary("a"), unary("b")]);
    module.command = true;
    assert_eq!(chosen(&module, &MAP), (Abi::Command, "_start".to_owned()));
}

#[test]
fn several_functions_without_a_choice_are_listed() {
    let text = refusal(&component(vec![unary("a"), binary("b")]), &MAP);
    assert!(text.contains("--invoke"), "{text}");
    assert!(text.contains("a: func(text: string) -> u32"), "{text}");
    assert!(text.contains("b: func(a: u32, b: u32) -> u32"), "{text}");
}

#[test]
fn nothing_to_call_is_said() {
    assert!(refusal(&core(vec![]), &MAP).contains("exports no function"));
}

#[test]
fn a_wrong_name_suggests_the_nearest() {
    let text =
        refusal(&component(vec![unary("count-words"), unary("x")]), &Choice { invoke: Some("count_wrods"), ..MAP });
    assert!(text.contains("did you mean `count-words`?"), "{text}");
    let far = refusal(&component(vec![unary("count-words")]), &Choice { invoke: Some("zzz"), ..MAP });
    assert!(!far.contains("did you mean"), "{far}");
    assert!(far.contains("count-words: func"), "{far}");
}

#[test]
fn plumbing_is_called_when_it_is_named() {
    let module = core(vec![hidden("free"), unary("a")]);
    assert_eq!(chosen(&module, &Choice { invoke: Some("free"), spread: Spread::Star, ..MAP }).1, "free");
}

#[test]
fn interfaces_are_found_by_every_unambiguous_name() {
    let module = component(vec![inside("demo:text/stats@1.0.0", "count"), inside("demo:text/other@1.0.0", "count")]);
    for name in ["demo:text/stats@1.0.0/count", "demo:text/stats/count", "stats/count", "stats@1.0.0/count"] {
        let target = choose(&module, &Choice { invoke: Some(name), ..MAP }).unwrap();
        assert_eq!(target.interface.as_deref(), Some("demo:text/stats@1.0.0"), "{name}");
    }
    assert!(refusal(&module, &Choice { invoke: Some("count"), ..MAP }).contains("ambiguous"));
    assert!(refusal(&module, &Choice { invoke: Some("text/count"), ..MAP }).contains("no function"));
}

#[test]
fn a_core_export_name_may_hold_slashes_and_dots() {
    let module = core(vec![unary("a/b.c:d"), unary("")]);
    assert_eq!(chosen(&module, &Choice { invoke: Some("a/b.c:d"), ..MAP }).1, "a/b.c:d");
    assert_eq!(chosen(&module, &Choice { invoke: Some(""), ..MAP }).1, "");
}

#[test]
fn a_pair_of_pointers_takes_bytes_except_under_starmap() {
    let module = core(vec![bytes("f")]);
    assert_eq!(chosen(&module, &MAP).0, Abi::Bytes);
    assert_eq!(chosen(&module, &Choice { spread: Spread::Auto, ..MAP }).0, Abi::Bytes);
    assert_eq!(chosen(&module, &Choice { spread: Spread::Star, ..MAP }).0, Abi::Core);
    let without = Description { allocator: None, ..module };
    assert!(refusal(&without, &MAP).contains("--starmap"));
}

#[test]
fn an_abi_that_does_not_fit_is_refused() {
    let text = refusal(&core(vec![unary("f")]), &Choice { abi: Some(Abi::Bytes), ..MAP });
    assert!(text.contains("cannot take bytes"), "{text}");
    assert!(refusal(&core(vec![unary("f")]), &Choice { abi: Some(Abi::Component), ..MAP }).contains("no component"));
    assert!(refusal(&component(vec![unary("f")]), &Choice { abi: Some(Abi::Core), ..MAP }).contains("is a component"));
    let star = Choice { abi: Some(Abi::Bytes), spread: Spread::Star, ..MAP };
    assert!(refusal(&core(vec![bytes("f")]), &star).contains("use --map"));
}

#[test]
fn a_command_is_start_or_a_named_export_without_parameters() {
    let command = Choice { abi: Some(Abi::Command), ..MAP };
    assert!(refusal(&core(vec![unary("f")]), &command).contains("no `_start`"));
    let module = core(vec![function("tick", &[], &[]), unary("f")]);
    assert_eq!(chosen(&module, &Choice { invoke: Some("tick"), ..command }), (Abi::Command, "tick".to_owned()));
    assert!(refusal(&module, &Choice { invoke: Some("f"), ..command }).contains("takes and returns nothing"));
    let start = Description { command: true, ..core(vec![unary("f")]) };
    assert_eq!(chosen(&start, &Choice { invoke: Some("_start"), ..MAP }), (Abi::Command, "_start".to_owned()));
    assert!(refusal(&start, &Choice { invoke: Some("_start"), abi: Some(Abi::Core), ..MAP }).contains("is a command"));
    // Where it is listed among the functions, as core modules have it.
    let listed = Description { command: true, ..core(vec![hidden("_start"), function("pack", &[], &[])]) };
    assert_eq!(chosen(&listed, &Choice { invoke: Some("_start"), ..MAP }), (Abi::Command, "_start".to_owned()));
    assert!(refusal(&listed, &MAP).contains("; or run the program with --invoke _start"));
}

#[test]
fn an_arity_that_does_not_fit_suggests_the_other_mode() {
    let text = refusal(&component(vec![binary("add")]), &MAP);
    assert!(text.contains("takes 2 parameters") && text.contains("--starmap with [a, b]"), "{text}");
    let none = refusal(&component(vec![function("tick", &[], &[])]), &MAP);
    assert!(none.contains("takes no parameters") && none.contains("--starmap"), "{none}");
    assert!(choose(&component(vec![binary("add")]), &Choice { spread: Spread::Star, ..MAP }).is_ok());
    assert!(choose(&component(vec![binary("add")]), &Choice { spread: Spread::Auto, ..MAP }).is_ok());
}

#[test]
fn arity_is_judged_on_what_with_leaves() {
    let with = [("b".to_owned(), "1".to_owned())];
    assert!(choose(&component(vec![binary("add")]), &Choice { with: &with, ..MAP }).is_ok());
    let wrong = [("text2".to_owned(), "1".to_owned())];
    let text = refusal(&component(vec![unary("f")]), &Choice { with: &wrong, ..MAP });
    assert!(text.contains("no parameter `text2`") && text.contains("did you mean `text`?"), "{text}");
}

#[test]
fn types_that_json_cannot_carry_are_named() {
    let module = component(vec![function("f", &[("in", Ty::List(Box::new(Ty::Unsupported("stream".into()))))], &[])]);
    let text = refusal(&module, &MAP);
    assert!(text.contains("parameter `in`") && text.contains("`stream`"), "{text}");
}

#[test]
fn unknown_imports_are_refused_unless_functions_are_stubbed() {
    let import =
        |kind: &str| Import { module: "env".into(), name: "magic".into(), kind: kind.into(), grant: Grant::Unknown };
    let module = Description { imports: vec![import("func")], ..core(vec![unary("f")]) };
    let text = refusal(&module, &MAP);
    assert!(text.contains("`env` `magic`") && text.contains("--stub-imports"), "{text}");
    assert!(choose(&module, &Choice { stub_imports: true, ..MAP }).is_ok());
    let memory = Description { imports: vec![import("memory")], ..core(vec![unary("f")]) };
    assert!(refusal(&memory, &Choice { stub_imports: true, ..MAP }).contains("(memory)"));
}

#[test]
fn a_memory_that_starts_over_the_limit_names_the_flag() {
    let module = Description { memory_minimum: (1 << 20) + 1, ..core(vec![unary("f")]) };
    assert!(refusal(&module, &MAP).contains("--memory"));
}

#[test]
fn guest_names_are_escaped_in_errors() {
    let text = refusal(&core(vec![unary("a\u{1b}[2J"), unary("b\u{202e}\n")]), &MAP);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    assert_eq!(text.lines().count(), 3);
}
