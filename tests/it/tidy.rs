//! The house rules that no compiler knows: layers, who may do what, file
//! sizes, and documents that keep up with the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use wpool::cli::args::Cli;
use wpool::outcome::Kind;

/// The modules of `host/`, layer by layer from the lowest. A module knows
/// modules of its own layer and of lower ones.
const LAYERS: [&[&str]; 8] = [
    &["error", "limits", "capabilities", "outcome", "layer", "escape", "scan", "placeholder"],
    &["value", "describe", "wire", "tree"],
    &["runtime", "sandbox"],
    &["worker"],
    &["pool"],
    &["api"],
    &["cli"],
    &["lib", "main"],
];

/// Lines that a file may have before its tests.
const LONGEST_FILE: usize = 600;

/// A text file of the project.
struct Source {
    /// Its path below the project's root.
    path: String,
    text: String,
}

impl Source {
    /// The top-level module of `host/` that the file belongs to.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("host/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
    }

    /// Whether the whole file is a test module.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }

    /// The lines of the program with their numbers: without comments, and
    /// without the tests at the file's end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = if self.is_test() { Some(0) } else { self.text.find("#[cfg(test)]\nmod ") };
        let program = &self.text[..tests.unwrap_or(self.text.len())];
        (1..).zip(program.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` whose names end with one of `ends`.
fn sources(folder: &str, ends: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !matches!(name.as_str(), "target" | ".git") {
                folders.push(path);
            } else if kind.is_file() && ends.iter().any(|end| name.ends_with(end)) {
                let below = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path: below, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder}");
    found
}

fn host() -> Vec<Source> {
    sources("host", &[".rs"])
}

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("{module} has no layer; see ARCHITECTURE.md and LAYERS"))
}

/// The modules that a line names as `crate::module`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Fails with all complaints at once.
#[track_caller]
fn none(what: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{what}:\n  {}", complaints.join("\n  "));
}

/// Places in the program, tests excepted, where a line holds one of `needles`
/// and the file is not one of `allowed`.
fn places(needles: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in host().iter().filter(|source| !allowed.contains(&source.path.as_str())) {
        for (number, line) in source.code().filter(|(_, line)| needles.iter().any(|needle| line.contains(needle))) {
            found.push(format!("{}:{number}: {}", source.path, line.trim()));
        }
    }
    found
}

#[test]
fn a_module_knows_no_higher_layer() {
    let mut complaints = Vec::new();
    for source in host() {
        let own = layer(source.module());
        assert!(!source.text.contains("crate::{"), "{}: one `use` a module, so that layers can be seen", source.path);
        for (number, line) in source.code() {
            for other in named(line).filter(|other| layer(other) > own) {
                complaints.push(format!("{}:{number}: {} knows {other}", source.path, source.module()));
            }
        }
    }
    none("higher layers are named", &complaints);
}

#[test]
fn the_host_process_has_no_path_to_the_engine() {
    let mut complaints = Vec::new();
    for source in host().iter().filter(|source| matches!(source.module(), "pool" | "cli")) {
        for (number, line) in source.code() {
            if ["wasmtime", "crate::runtime", "crate::sandbox", "wasmparser", "wit_component", "wat::"]
                .iter()
                .any(|name| line.contains(name))
                // The engine's version, as part of the cache's key.
                && !line.contains("const WASMTIME: &str")
                && !line.contains("{WASMTIME}")
            {
                complaints.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("guest code is the workers' business", &complaints);
}

#[test]
fn pure_modules_have_no_threads_clocks_or_files() {
    let pure = [
        "host/escape.rs",
        "host/outcome.rs",
        "host/placeholder.rs",
        "host/scan.rs",
        "host/pool/credit.rs",
        "host/pool/reorder.rs",
        "host/wire/frame.rs",
        "host/wire/message.rs",
        "host/wire/report.rs",
    ];
    let mut complaints = Vec::new();
    for source in host().iter().filter(|s| pure.contains(&s.path.as_str()) || s.module() == "value") {
        for (number, line) in source.code() {
            if ["std::thread", "std::fs", "Instant::now", "SystemTime::now", "std::net", "std::env"]
                .iter()
                .any(|name| line.contains(name))
            {
                complaints.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("pure modules do something", &complaints);
}

#[test]
fn the_engine_is_configured_in_one_file() {
    none("wasmtime::Config elsewhere", &places(&[" Config::new(", "wasmtime::Config"], &["host/runtime/engine.rs"]));
}

#[test]
fn processes_are_started_in_one_file() {
    none("processes are started elsewhere", &places(&["process::Command", "Command::new("], &["host/pool/process.rs"]));
}

#[test]
fn only_the_edges_print() {
    let macros = ["println!(", "print!(", "dbg!("];
    none("printing macros", &places(&macros, &[]));
    // Standard error is looked at in env.rs, and written by the printer alone.
    let edges = ["host/cli/printer.rs", "host/cli/output/sink.rs", "host/cli/env.rs"];
    none("standard streams are taken elsewhere", &places(&["io::stdout()", "io::stderr()"], &edges));
}

#[test]
fn the_process_is_ended_by_returning() {
    none("process::exit", &places(&["process::exit", "process::abort"], &["host/cli/signals.rs"]));
}

#[test]
fn the_environment_is_read_in_three_places() {
    let allowed = ["host/cli/env.rs", "host/cli/args/caps.rs", "host/pool/cache.rs"];
    none("the environment is read elsewhere", &places(&["env::var"], &allowed));
}

#[test]
fn no_queue_is_unbounded() {
    none("unbounded queues", &places(&["unbounded(", "mpsc::channel("], &[]));
}

#[test]
fn files_are_short_and_say_their_job() {
    let mut complaints = Vec::new();
    for source in host().iter().chain(&sources("tests", &[".rs"])) {
        let lines = source.text.find("#[cfg(test)]\nmod ").map_or(source.text.as_str(), |at| &source.text[..at]);
        let count = lines.lines().count();
        if count > LONGEST_FILE {
            complaints.push(format!("{} has {count} lines; cut it by noun", source.path));
        }
        if !source.text.starts_with("//! ") {
            complaints.push(format!("{} does not begin with what it is for", source.path));
        }
    }
    none("untidy files", &complaints);
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let text = document("Cargo.toml");
    let (mut section, mut before, mut complaints) = ("", "", Vec::new());
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && line.contains(" = ") && !line.starts_with(['#', ' ']) {
            // Two that belong together may share a comment.
            let name = line.split(" = ").next().unwrap_or(line);
            let family = |other: &str| other.split(['-', '_', ' ']).next() == name.split(['-', '_']).next();
            if !before.starts_with('#') && !family(before) && !matches!(name, "thiserror" | "serde_json") {
                complaints.push(line.to_owned());
            }
        }
        before = line;
    }
    none("dependencies without a reason", &complaints);
}

/// Every option of the command that people see, such as `--map`.
fn options() -> BTreeSet<String> {
    fn collect(command: &clap::Command, found: &mut BTreeSet<String>) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            found.extend(argument.get_long().map(|long| format!("--{long}")));
        }
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            collect(sub, found);
        }
    }
    let mut found = BTreeSet::new();
    collect(&Cli::command(), &mut found);
    assert!(found.contains("--map"));
    found
}

/// Words of `text` that begin with `--`, cut where an option's name ends.
fn mentioned(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.len() > 3 && !word.ends_with('-'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_reference_has_every_option_and_no_other() {
    let (options, documented) = (options(), mentioned(&document("docs/cli.md")));
    let missing: Vec<String> = options.difference(&documented).filter(|option| *option != "--help").cloned().collect();
    none("docs/cli.md lacks", &missing);
    let invented: Vec<String> = documented
        .difference(&options)
        .filter(|option| !matches!(option.as_str(), "--help" | "--version"))
        .cloned()
        .collect();
    none("docs/cli.md has options that are not there", &invented);
}

#[test]
fn documents_name_only_options_that_exist() {
    let mut known = options();
    // Of cargo, rustc, rustup, git, and the programs that examples call.
    known.extend(
        [
            "--help",
            "--release",
            "--target",
            "--edition",
            "--crate-type",
            "--version",
            "--lib",
            "--example",
            "--locked",
            "--test",
            // Of useradd and systemd-run.
            "--create-home",
            "--pipe",
            "--system",
            "--wait",
        ]
        .map(str::to_owned),
    );
    let mut complaints = Vec::new();
    for page in sources("docs", &[".md"]).iter().chain(&pages()) {
        let unknown: Vec<String> = mentioned(&page.text).difference(&known).cloned().collect();
        complaints.extend(unknown.iter().map(|option| format!("{}: {option}", page.path)));
    }
    none("options that nothing has", &complaints);
}

fn pages() -> Vec<Source> {
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
        .map(|path| Source { path: path.to_owned(), text: document(path) })
        .into()
}

#[test]
fn every_kind_of_outcome_is_documented() {
    let text = document("docs/outcomes.md");
    let missing: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("`{kind}`")).filter(|kind| !text.contains(kind)).collect();
    none("docs/outcomes.md lacks", &missing);
}

#[test]
fn the_code_map_has_every_module() {
    let text = document("ARCHITECTURE.md");
    let missing: Vec<String> =
        LAYERS.iter().flat_map(|modules| modules.iter()).map(|module| format!("`{module}")).collect();
    let missing: Vec<String> = missing.into_iter().filter(|module| !text.contains(module)).collect();
    none("ARCHITECTURE.md lacks", &missing);
    assert!(text.lines().count() <= 250, "ARCHITECTURE.md is too long to be read first");
}

#[test]
fn the_tests_that_hold_invariants_exist() {
    let text = document("ARCHITECTURE.md");
    let code: String = host()
        .iter()
        .chain(&sources("tests", &[".rs"]))
        .map(|source| source.text.as_str())
        .collect::<Vec<_>>()
        .concat();
    let (_, invariants) = text.split_once("## Invariants").expect("a chapter of invariants");
    let invariants = invariants.split("\n## ").next().unwrap_or(invariants);
    let names: Vec<&str> = invariants.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
    assert!(names.len() >= 7, "each invariant names a test: {names:?}");
    let missing: Vec<String> =
        names.iter().filter(|name| !code.contains(&format!("fn {name}("))).map(|name| (*name).to_owned()).collect();
    none("ARCHITECTURE.md names tests that are not there", &missing);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    for page in sources(".", &[".md"]) {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or(link);
            let elsewhere = link.contains("://") || link.starts_with('#') || link.starts_with("mailto:");
            if !elsewhere && !folder.join(path).exists() {
                complaints.push(format!("{}: {link}", page.path));
            }
        }
    }
    none("links to nowhere", &complaints);
}

/// Public functions of the library's face that need no example, and why.
const WITHOUT_EXAMPLE: [(&str, &str); 0] = [];

#[test]
fn every_call_of_the_library_has_an_example() {
    let (mut complaints, mut examples) = (Vec::new(), 0);
    for source in host().iter().filter(|source| source.module() == "api") {
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(name) = line.strip_prefix("pub fn ") else { continue };
            let name = name.split(['(', '<']).next().unwrap_or(name);
            // Its comment and attributes, from the last line to the first.
            let above =
                lines[..number].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
            if above.clone().any(|line| line.starts_with("/// ```")) {
                examples += 1;
            } else if !WITHOUT_EXAMPLE.iter().any(|(known, _)| *known == name) {
                complaints.push(format!("{}:{}: {name}", source.path, number + 1));
            }
        }
    }
    none("public functions without an example", &complaints);
    assert!(examples > 50, "{examples} examples: the test looks in the wrong place");
}

#[test]
fn the_changelog_knows_this_version() {
    let text = document("CHANGELOG.md");
    let version = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(text.contains("## [Unreleased]") || text.contains(&version), "an entry for what is being built");
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    // In two parts, or this file would be one of them.
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];
    let mut complaints = Vec::new();
    for source in sources(".", &[".rs", ".md", ".sh", ".toml", ".wat", ".wit", ".py", "Makefile", "run"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if homes.iter().any(|home| line.contains(home)) {
                complaints.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("paths of a machine", &complaints);
}
