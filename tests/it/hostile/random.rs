//! Random modules of fixed seeds: whatever they do, the pool tells an outcome,
//! and the same one again.

use arbitrary::Unstructured;
use wasm_smith::{Config, Module as Random};
use wpool::error::Error;
use wpool::outcome::{Kind, Outcome};
use wpool::pool::compile::{CompileOptions, prepare};
use wpool::pool::module::Module;
use wpool::pool::{MapOptions, Pool, Work};
use wpool::wire::message::{Abi, Spread, TaskSpec};

use crate::support::{binary, item, options, spec};

/// How many modules are tried.
const MODULES: u64 = 150;

/// Functions that are called of each.
const FUNCTIONS: usize = 4;

/// Bytes to make choices from.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..2048).flat_map(|_| next().to_le_bytes()).collect()
}

/// A module of our default proposals, some of them left out; every eighth seed
/// uses some that are off.
fn module(seed: u64) -> Vec<u8> {
    let noise = noise(seed);
    let mut source = Unstructured::new(&noise);
    let wild = seed % 8 == 7;
    // What a module may not use changes the rest of it: most seeds lack some.
    let with = |feature: usize| noise[feature] & 3 != 0;
    let config = Config {
        min_funcs: 4,
        max_imports: if seed.is_multiple_of(4) { 3 } else { 0 },
        export_everything: true,
        allow_start_export: true,
        gc_enabled: wild,
        exceptions_enabled: wild,
        threads_enabled: wild,
        memory64_enabled: wild,
        tail_call_enabled: with(0),
        multi_value_enabled: with(1),
        bulk_memory_enabled: with(2) || wild,
        sign_extension_ops_enabled: with(3),
        saturating_float_to_int_enabled: with(4),
        extended_const_enabled: with(5),
        allow_floats: with(6),
        memory_max_size_required: !with(7),
        table_max_size_required: !with(8),
        relaxed_simd_enabled: false,
        custom_page_sizes_enabled: wild,
        wide_arithmetic_enabled: false,
        reference_types_enabled: wild,
        simd_enabled: seed.is_multiple_of(2),
        min_types: 4,
        max_memory32_bytes: if seed.is_multiple_of(8) { 1 << 30 } else { 1 << 20 },
        max_memories: if wild { 2 } else { 1 },
        ..Config::default()
    };
    let mut module = Random::new(config, &mut source).expect("enough choices");
    if seed.is_multiple_of(3) {
        module.ensure_termination(1000).expect("it terminates");
    }
    module.to_bytes()
}

/// What is the same each time, of an outcome.
fn essence(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok(value) => format!("ok {:?}", value.bytes),
        Err(failure) => format!("{} {:?} {:?}", failure.kind, failure.detail.trap, failure.detail.code),
    }
}

/// Outcomes of each function that can be called, or why there are none.
fn outcomes(seed: u64) -> Vec<String> {
    let module = Module::from_bytes(format!("{seed}.wasm"), module(seed)).expect("bytes");
    let compile = CompileOptions { worker: Some(binary()), fuel: true, ..CompileOptions::default() };
    let artifact = match prepare(&module, &compile, &mut |_| {}) {
        Ok(artifact) => artifact,
        Err(Error::Module(text)) => return vec![text],
        Err(error) => panic!("seed {seed}: {error}"),
    };
    let names: Vec<String> =
        artifact.description.functions.iter().map(|function| function.name.clone()).take(FUNCTIONS).collect();
    names.iter().map(|name| called(seed, name, &artifact.file, &artifact.description)).collect()
}

fn called(seed: u64, name: &str, file: &std::fs::File, description: &wpool::describe::Description) -> String {
    let mut task = TaskSpec { spread: Spread::Star, stub_imports: true, ..spec(Abi::Core, name) };
    task.limits.fuel = Some(100_000);
    task.limits.memory = 16 << 20;
    let function = description.functions.iter().find(|function| function.name == name).expect("listed");
    let arguments = format!("[{}]", vec!["1"; function.ty.params.len()].join(","));
    let work = Work { artifact: file.try_clone().unwrap(), description: description.clone(), spec: task };
    let pool = Pool::start(work, options(1)).expect("pool");
    if let Err(error) = pool.wait_ready() {
        assert!(matches!(*error, Error::Module(_)), "seed {seed} {name}: {error}");
        return error.to_string();
    }
    let items = [item(0, arguments.clone()), item(1, arguments)];
    let told: Vec<Outcome> = pool.outcomes(items, MapOptions::default()).expect("job").collect();
    assert_eq!(told.len(), 2, "seed {seed} {name}");
    for outcome in &told {
        let kind = outcome.kind();
        let reason = outcome.result.as_ref().err().map(|failure| &failure.message);
        assert!(!matches!(kind, Kind::WorkerCrashed | Kind::Cancelled), "seed {seed} {name}: {reason:?}");
    }
    assert_eq!(essence(&told[0]), essence(&told[1]), "seed {seed} {name}: a fresh instance is as the first");
    essence(&told[0])
}

#[test]
fn random_modules_have_an_outcome_and_the_same_again() {
    let mut ran = 0;
    for seed in 0..MODULES {
        let first = outcomes(seed);
        assert_eq!(first, outcomes(seed), "seed {seed}");
        ran += usize::from(first.iter().any(|essence| essence.starts_with("ok")));
    }
    assert!(ran > 20, "only {ran} modules did anything");
}
