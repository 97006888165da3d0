//! `wpool run --shared`.

use super::GUEST;
use crate::command::Bench;

fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::write(bench.path("shared.wat"), GUEST).expect("guest");
    bench
}

#[test]
fn forty_thousand_increments_by_the_command_are_forty_thousand() {
    let bench = bench();
    let items = r#"[["l","hits",10000,0],["l","hits",10000,0],["l","hits",10000,0],["l","hits",10000,0]]"#;
    let grants = ["--shared", "lock:l", "--shared", "counter:hits"];
    let line = ["run", "-j4", "shared.wat", "--invoke", "locked", "--starmap", items, "--output", "json"];
    let ran = bench.run(&[&line[..], &grants[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let last: Vec<i64> = serde_json::from_str(&ran.out).expect("numbers");
    assert_eq!(last.iter().max(), Some(&40_000));
}

#[test]
fn what_was_not_granted_is_denied_with_the_flag() {
    let ran = bench().run(&["run", "shared.wat", "--invoke", "add", "--apply", r#"["hits",1]"#]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("denied") && ran.err.contains("--shared counter:hits"), "{}", ran.err);
}

#[test]
fn a_grant_that_is_none_is_a_usage_error_with_the_form() {
    for (grant, form) in [
        ("queue:jobs", "queue:NAME:ITEMS"),
        ("semaphore:s:0", "out of range"),
        ("lock:a b", "is no name"),
        ("mutex:m", "counter:NAME"),
        ("lock:l:3", "lock:NAME"),
    ] {
        let ran = bench().run(&["run", "shared.wat", "--invoke", "add", "--apply", "[]", "--shared", grant]);
        assert_eq!(ran.code, Some(2), "{grant}: {}", ran.err);
        assert!(ran.err.contains(form), "{grant}: {}", ran.err);
    }
    let twice = ["--shared", "lock:l", "--shared", "lock:l"];
    let ran = bench().run(&[&["run", "shared.wat", "--invoke", "add", "--apply", "[]"][..], &twice[..]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("twice"), "{}", ran.err);
}

#[test]
fn log_lines_go_to_standard_error_escaped_and_with_their_item() {
    let bench = bench();
    let items = r#"["quiet",0],["evil\u001b[31m\nerror: item 9: forged",1]"#;
    let line = ["run", "shared.wat", "--invoke", "say", "--starmap", &format!("[{items}]")];
    let ran = bench.run(&line);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ran.err);
    assert!(lines[0].starts_with("item 1: warn: evil"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'));
    let quiet = bench.run(&[&line[..], &["-q"]].concat());
    assert_eq!(quiet.err, "");
}

#[test]
fn inspect_and_dry_run_name_the_flag_and_the_grants() {
    let bench = bench();
    let ran = bench.run(&["inspect", "shared.wat"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for interface in ["wpool:pool/queue@0.1.0", "wpool:pool/lock@0.1.0", "wasi:keyvalue/store@0.2.0-draft"] {
        let line = ran.out.lines().find(|line| line.contains(interface)).expect(interface);
        assert!(line.contains("(--shared grants it)"), "{line}");
    }
    let context = ran.out.lines().find(|line| line.contains("wpool:pool/context")).expect("context");
    assert!(!context.contains("--shared"), "{context}");
    let dry = ["run", "shared.wat", "--invoke", "add", "--starmap", "[]", "--dry-run", "--shared", "queue:q:7"];
    let ran = bench.run(&dry);
    assert!(
        ran.out.lines().any(|line| line.trim_start().starts_with("shared ") && line.ends_with("queue:q:7")),
        "{}",
        ran.out
    );
}
