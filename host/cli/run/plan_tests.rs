//! Tests of what options come to.

use clap::Parser;

use super::*;
use crate::cli::args::{Cli, Command};
use crate::describe::{Function, Shape};
use crate::value::ty::FuncTy;

fn args(line: &[&str]) -> Box<RunArgs> {
    match Cli::parse_from([&["wpool", "run", "m.wasm"], line].concat()).command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

fn format(line: &[&str]) -> OutFormat {
    let args = args(line);
    let plan = Plan::new(&args).unwrap();
    let items = plan.open().unwrap();
    plan.out_format(items.format())
}

#[test]
fn the_output_follows_mode_and_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "[1]\n").unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (json, jsonl) = (file("a.json"), file("a.jsonl"));
    assert_eq!(format(&["--map", &json]), OutFormat::Json);
    assert_eq!(format(&["--map", "[1]"]), OutFormat::Json);
    assert_eq!(format(&["--starmap", &json]), OutFormat::Json);
    assert_eq!(format(&["--map", &jsonl]), OutFormat::Jsonl);
    assert_eq!(format(&["--imap", &json]), OutFormat::Jsonl);
    assert_eq!(format(&["--imap-unordered", &json]), OutFormat::Records);
    assert_eq!(format(&["--map", &json, "--output", "lines"]), OutFormat::Lines);
    assert_eq!(format(&["--apply", "1"]), OutFormat::Jsonl);
}

fn refused(line: &[&str]) -> String {
    let args = args(line);
    let error = Plan::new(&args).and_then(|plan| plan.open().map(|_| ())).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    assert!(refused(&["--imap-unordered", "[1]", "--output", "json"]).contains("records"));
    assert!(refused(&["--map", "[1]", "-o", "out/{index}.txt", "--output", "json"]).contains("records"));
    assert!(refused(&["--map", "[1]", "--result", "file:a"]).contains("--scratch"));
    assert!(refused(&["--apply", "text"]).contains("quotes"));
}

#[test]
fn arguments_are_for_commands_only() {
    let function = Function { interface: None, name: "f".into(), ty: unary(Ty::U8), hidden: false };
    let description = Description { functions: vec![function], shape: Shape::Component, ..Description::default() };
    let args = args(&["--map", "[1]", "--", "x"]);
    let error = Plan::new(&args).unwrap().target(&description, None).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

fn unary(ty: Ty) -> FuncTy {
    FuncTy { params: vec![Field { name: "p".into(), ty }], results: vec![] }
}

#[test]
fn a_header_is_compared_with_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "name,colour\na,b\n").unwrap();
    let record =
        |names: &[&str]| Ty::Record(names.iter().map(|name| Field { name: (*name).into(), ty: Ty::String }).collect());
    let check = |ty: Ty, more: &[&str]| {
        let args = args(&[&["--map", path.to_str().unwrap()], more].concat());
        let plan = Plan::new(&args).unwrap();
        let items = plan.open().unwrap();
        let function = Function { interface: None, name: "f".into(), ty: unary(ty), hidden: false };
        let description = Description { functions: vec![function], shape: Shape::Component, ..Description::default() };
        let target = plan.target(&description, None).unwrap();
        plan.check_columns(&items, &description, &target)
    };
    assert!(check(record(&["name", "colour"]), &[]).is_ok());
    assert_eq!(check(record(&["name"]), &[]).unwrap_err().exit_code(), 4);
    assert!(check(record(&["name"]), &["--extra-fields", "ignore"]).is_ok());
    assert_eq!(check(record(&["name", "size"]), &[]).unwrap_err().exit_code(), 4);
    assert_eq!(check(Ty::String, &[]).unwrap_err().exit_code(), 4);
}

#[test]
fn streams_send_each_item_alone() {
    let one = Chunksize::Fixed(NonZeroUsize::MIN);
    let chunks = |line: &[&str]| Plan::new(&args(line)).unwrap().chunksize();
    assert_eq!(chunks(&["--imap", "[1]"]), one);
    assert_eq!(chunks(&["--map", "[1]"]), Chunksize::Auto);
    assert_ne!(chunks(&["--imap", "[1]", "--chunksize", "7"]), one);
}

#[test]
fn unread_items_of_a_file_count_as_cancelled() {
    let rest = |line: &[&str]| {
        let args = args(line);
        let plan = Plan::new(&args).unwrap();
        plan.rest(&plan.open().unwrap())
    };
    assert_eq!(rest(&["--map", "[1]", "--fail-fast"]), Rest::Cancel);
    assert_eq!(rest(&["--map", "[1]", "--deadline", "5s"]), Rest::Cancel);
    assert_eq!(rest(&["--map", "[1]"]), Rest::Leave);
    assert_eq!(rest(&["--imap", "-", "--fail-fast"]), Rest::Leave);
}

#[test]
fn a_shut_gate_ends_the_items() {
    let args = args(&["--map", "[1, 2, 3]"]);
    let mut items = Plan::new(&args).unwrap().open().unwrap();
    assert_eq!(items.len_hint(), Some(3));
    assert_eq!(items.next().unwrap().index, 0);
    items.gate().shut();
    assert!(items.next().is_none());
}

#[test]
fn apply_is_one_item() {
    let args = args(&["--apply", " [1, 2] "]);
    let items: Vec<_> = Plan::new(&args).unwrap().open().unwrap().collect();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].body.as_ref().unwrap().bytes, "[1, 2]");
}
