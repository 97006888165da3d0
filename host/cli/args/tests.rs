//! Tests of the definition and of the parsers that are our own.

use clap::{CommandFactory, Parser};

use super::*;
use crate::capabilities::Access;
use crate::cli::args::io::Mode;

fn parse(line: &[&str]) -> Result<Box<RunArgs>, clap::Error> {
    match Cli::try_parse_from([&["wpool", "run"], line].concat())?.command {
        Command::Run(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

fn run(line: &[&str]) -> Box<RunArgs> {
    parse(line).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(line: &[&str]) -> String {
    let error = parse(line).map(|args| format!("{args:?}")).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn options_stand_on_either_side_of_the_module() {
    for line in [
        &["--map", "x.json", "-j", "2", "m.wasm"][..],
        &["m.wasm", "--map", "x.json", "-j", "2"],
        &["-j2", "m.wasm", "--map=x.json"],
    ] {
        let args = run(line);
        assert_eq!(args.module.to_str(), Some("m.wasm"));
        assert_eq!(args.mode.chosen(), Some((Mode::Map, "x.json")));
        assert_eq!(args.pool.processes.map(std::num::NonZero::get), Some(2));
    }
}

#[test]
fn what_follows_the_dashes_is_the_guests() {
    let args = run(&["m.wasm", "--imap", "-", "--", "--map", "-x", "{}"]);
    assert_eq!(args.guest, ["--map", "-x", "{}"]);
    assert_eq!(args.mode.chosen(), Some((Mode::Imap, "-")));
}

#[test]
fn there_is_exactly_one_mode() {
    assert!(refused(&["m.wasm"]).contains("--map"));
    assert!(refused(&["m.wasm", "--map", "a", "--apply", "1"]).contains("cannot be used with"));
    assert!(refused(&["--map", "a"]).contains("MODULE"));
    assert!(refused(&["a.wasm", "b.wasm", "--map", "a"]).contains("b.wasm"));
}

#[test]
fn a_negative_number_is_a_value_of_apply() {
    assert_eq!(run(&["m.wasm", "--apply=-1"]).mode.chosen(), Some((Mode::Apply, "-1")));
}

#[test]
fn every_limit_has_its_documented_default() {
    let args = run(&["m.wasm", "--map", "x"]);
    assert_eq!(args.engine.complete(args.limits.limits()), crate::limits::Limits::default());
    assert_eq!(args.engine.compile_limits(), crate::limits::CompileLimits::default());
    assert_eq!(args.capabilities.capabilities().unwrap(), crate::capabilities::Capabilities::none());
    assert_eq!(args.pool.retry_on, [crate::outcome::Kind::WorkerCrashed, crate::outcome::Kind::Timeout]);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for (flag, value) in [
        ("--timeout", "0"),
        ("--timeout", "-1"),
        ("--timeout", "nan"),
        ("--memory", "0"),
        ("--memory", "-5MiB"),
        ("--memory", "999999TiB"),
        ("--fuel", "0"),
        ("-j", "0"),
        ("-j", "-1"),
        ("-j", "1000000"),
        ("--chunksize", "0"),
        ("--retries", "-1"),
        ("--retry-on", "ok"),
        ("--retry-on", "bogus"),
        ("--max-result", "0"),
        ("-W", "bogus"),
        ("--only", "5-3"),
        ("--delimiter", "ab"),
        ("--with", "novalue"),
        ("--with", "a=nojson"),
        ("--abi", "magic"),
        ("--result", "file:"),
    ] {
        let argument =
            if flag.starts_with("--") { vec![format!("{flag}={value}")] } else { vec![format!("{flag}{value}")] };
        let line: Vec<&str> = ["m.wasm", "--map", "x"].into_iter().chain(argument.iter().map(String::as_str)).collect();
        let text = refused(&line);
        assert!(text.contains("invalid value"), "{flag} {value}: {text}");
    }
}

#[test]
fn a_time_limit_can_be_switched_off() {
    assert_eq!(run(&["m", "--map", "x", "--timeout", "none"]).limits.limits().timeout, None);
}

#[test]
fn features_are_named_together_or_apart() {
    let args = run(&["m", "--map", "x", "-W", "gc,memory64", "-W", "exceptions"]);
    assert_eq!(args.engine.features().names(), ["exceptions", "gc", "memory64"]);
}

fn dir(text: &str) -> Option<(String, String, Access)> {
    let args = parse(&["m", "--map", "x", "--dir", text]).ok()?;
    let [grant] = args.capabilities.dirs.as_slice() else { return None };
    Some((grant.host.to_str().unwrap().to_owned(), grant.guest.clone(), grant.access))
}

#[test]
fn directories_are_granted_by_the_documented_rules() {
    let (read, write) = (Access::ReadOnly, Access::ReadWrite);
    let expect = |text: &str, host: &str, guest: &str, access| {
        assert_eq!(dir(text), Some((host.to_owned(), guest.to_owned(), access)), "{text}");
    };
    expect("data", "data", "data", read);
    expect("./data::rw", "./data", "./data", write);
    expect("data::/in", "data", "/in", read);
    expect("data::/in::rw", "data", "/in", write);
    expect("data::/in::ro", "data", "/in", read);
    expect("data::ro", "data", "data", read);
    expect("ro", "ro", "ro", read);
    expect("data::rw::rw", "data", "rw", write);
    expect("a:b", "a:b", "a:b", read);
    for text in ["", "::", "data::", "::/in", "data::/in::wr", "data::/in::rw::ro", "data::::rw", "a::b::c::d"] {
        assert_eq!(dir(text), None, "{text}");
    }
}

#[test]
fn a_guest_path_is_granted_once() {
    let line = ["m", "--map", "x", "--dir", "/::/in", "--dir", "/tmp::/in"];
    assert!(run(&line).capabilities.capabilities().unwrap_err().to_string().contains("/in"));
    let missing = run(&["m", "--map", "x", "--dir", "/no/such/folder"]).capabilities.capabilities();
    assert_eq!(missing.unwrap_err().exit_code(), 2);
}

#[test]
fn variables_are_given_or_copied() {
    let args = run(&["m", "--map", "x", "--env", "A=1=2", "--env", "B=", "--env", "PATH", "--env", "A=3"]);
    let env = args.capabilities.capabilities().unwrap().env;
    assert!(env.contains(&("A".to_owned(), "3".to_owned())) && env.contains(&("B".to_owned(), String::new())));
    assert_eq!(env.len(), 3);
    assert!(refused(&["m", "--map", "x", "--env", "WPOOL_NO_SUCH_NAME"]).contains("not set"));
    assert!(refused(&["m", "--map", "x", "--env", "=1"]).contains("name is missing"));
}

#[test]
fn only_names_positions_and_ranges() {
    let only = run(&["m", "--map", "x", "--only", "48213,7-9"]).input.only.unwrap();
    assert!(only.contains(48213) && only.contains(7) && only.contains(9));
    assert!(!only.contains(6) && !only.contains(10));
    assert_eq!(only.last(), 48213);
}

#[test]
fn stats_take_their_form_behind_an_equals_sign() {
    use io::StatsFormat;
    let stats = |line: &[&str]| run(&[&["--map", "x"], line].concat()).output.stats;
    assert_eq!(stats(&["m"]), None);
    assert_eq!(stats(&["--stats", "m"]), Some(StatsFormat::Text));
    assert_eq!(stats(&["--stats=json", "m"]), Some(StatsFormat::Json));
}

#[test]
fn the_seed_needs_deterministic() {
    assert!(refused(&["m", "--map", "x", "--seed", "3"]).contains("--deterministic"));
    let args = run(&["m", "--map", "x", "--seed", "3", "--deterministic"]);
    assert_eq!(args.capabilities.capabilities().unwrap().deterministic, Some(3));
}

#[test]
fn the_short_help_fits_a_screen() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let run = command.find_subcommand_mut("run").unwrap();
    let help = run.render_help().to_string();
    assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
    assert!(help.contains("Examples:"));
    let long = run.render_long_help().to_string();
    assert!(long.contains("--compile-memory") && !help.contains("--compile-memory"));
}

#[test]
fn workers_and_later_commands_are_not_listed() {
    let help = Cli::command().render_long_help().to_string();
    assert!(!help.contains("__worker") && !help.contains("serve"), "{help}");
}
