//! `wpool doctor`: what this system gives to a pool. The layers of the
//! workers' lock-down as a worker found them, processors and memory, limits,
//! the cache, versions; as text, or as one JSON document of a stable form.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::DoctorArgs;
use super::prepare::Talk;
use super::printer;
use super::units::{about_size, show_duration, show_size};
use crate::error::Error;
use crate::escape::escape;
use crate::layer::Layer;
use crate::limits::{CompileLimits, Limits};
use crate::pool::cache::{Cache, WASMTIME};
use crate::pool::probe::{self, Probe};
use crate::pool::process::own_binary;
use crate::pool::resources::{Machine, Workers};
use crate::wire::frame;

/// Version of the JSON document.
const VERSION: u32 = 1;

/// The most of a path or a reason that is shown, in bytes.
const LONGEST: usize = 400;

/// All that was found out.
struct Findings {
    probe: Result<Probe, Error>,
    machine: Machine,
    workers: Workers,
    cache: Result<String, String>,
    system: String,
}

/// What became of one layer.
enum State<'a> {
    Applied,
    /// Not to be had, and why.
    Missing(&'a str),
    /// Part of a compile worker's lock-down alone, which was not asked.
    Elsewhere,
    /// No worker could say.
    Unknown,
}

/// Runs the command.
///
/// # Errors
/// When workers cannot be started or `--sandbox enforce` would refuse; after
/// the report, which is written in any case.
pub fn doctor(args: &DoctorArgs) -> Result<(), Error> {
    let talk = Talk::new(&args.messages);
    let findings = findings();
    let text = if args.json { format!("{:#}\n", document(&findings)) } else { report(&findings) };
    printer::document(text.as_bytes()).map_err(Error::io("cannot write to standard output"))?;
    let lacking: Vec<&str> = required_and_missing(&findings).map(Layer::name).collect();
    if let Some(note) = &findings.workers.note {
        talk.printer.note(note);
    }
    match findings.probe {
        Err(error) => Err(error),
        Ok(_) if lacking.is_empty() => Ok(()),
        Ok(_) => Err(Error::Workers(format!(
            "--sandbox enforce refuses to run here without {} (best-effort runs without)",
            lacking.join(" and ")
        ))),
    }
}

fn findings() -> Findings {
    let machine = Machine::detect();
    let cache = match Cache::default_path().map(Cache::open) {
        None => Err("neither WPOOL_CACHE_DIR, XDG_CACHE_HOME nor HOME is set".to_owned()),
        Some(Err(unusable)) => Err(unusable.to_string()),
        Some(Ok(cache)) => Ok(cache.path().display().to_string()),
    };
    let uname = rustix::system::uname();
    let names = [uname.sysname(), uname.release(), uname.machine()].map(|name| name.to_string_lossy().into_owned());
    Findings {
        probe: probe::smallest(&own_binary()),
        machine,
        workers: machine.workers(None, Limits::default().memory),
        cache,
        system: names.join(" "),
    }
}

fn state(findings: &Findings, layer: Layer) -> State<'_> {
    let Ok(probe) = &findings.probe else { return State::Unknown };
    if probe.ready.layers.iter().any(|name| name == layer.name()) {
        return State::Applied;
    }
    let missing = probe.ready.missing.iter().find(|missing| missing.layer == layer.name());
    missing.map_or(State::Elsewhere, |missing| State::Missing(&missing.why))
}

fn required_and_missing(findings: &Findings) -> impl Iterator<Item = Layer> {
    Layer::ALL
        .into_iter()
        .filter(|layer| layer.required() && matches!(state(findings, *layer), State::Missing(_) | State::Unknown))
}

fn report(findings: &Findings) -> String {
    let name = |text: &str| escape(text.as_bytes(), LONGEST);
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:>13}  {value}"); // writing to a string cannot fail
    };
    row("wpool", format!("{} (wasmtime {WASMTIME}, protocol {})", env!("CARGO_PKG_VERSION"), frame::VERSION));
    row("system", name(&findings.system));
    row("processors", findings.machine.cpus.to_string());
    row("memory", findings.machine.memory.map_or("unknown".to_owned(), about_size));
    row("workers", format!("{} by default", findings.workers.count));
    match &findings.cache {
        Ok(path) => row("cache", name(path)),
        Err(why) => row("cache", format!("none: {}", name(why))),
    }
    let (limits, compiling) = (Limits::default(), CompileLimits::default());
    row(
        "per task",
        format!(
            "{}, memory {}, stack {}, result {}",
            limits.timeout.map_or("no timeout".to_owned(), show_duration),
            show_size(limits.memory),
            show_size(limits.stack),
            show_size(limits.max_result)
        ),
    );
    row("per module", format!("{}, memory {}", show_duration(compiling.timeout), show_size(compiling.memory)));
    match &findings.probe {
        Ok(probe) => row("worker", format!("starts in {:.1} ms", probe.start.as_secs_f64() * 1e3)),
        Err(error) => row("worker", format!("does not start: {}", name(&error.to_string()))),
    }
    out.push_str("\nSandbox:\n");
    for layer in Layer::ALL {
        let (sign, state) = match state(findings, layer) {
            State::Applied => ("yes", format!("stops {}", layer.stops())),
            State::Missing(why) => ("NO", format!("would stop {}: {}", layer.stops(), name(why))),
            State::Elsewhere => ("-", format!("stops {} (compile workers)", layer.stops())),
            State::Unknown => ("?", format!("would stop {}", layer.stops())),
        };
        let _ = writeln!(out, "{sign:>5}  {:<19}  {state}", layer.name()); // writing to a string cannot fail
    }
    out
}

fn document(findings: &Findings) -> Value {
    let layers: Vec<Value> = Layer::ALL
        .into_iter()
        .map(|layer| {
            let (state, why) = match state(findings, layer) {
                State::Applied => ("applied", None),
                State::Missing(why) => ("missing", Some(why)),
                State::Elsewhere => ("compile-workers", None),
                State::Unknown => ("unknown", None),
            };
            json!({
                "name": layer.name(), "state": state, "why": why,
                "required": layer.required(), "stops": layer.stops(),
            })
        })
        .collect();
    let (limits, compiling) = (Limits::default(), CompileLimits::default());
    let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let probe = findings.probe.as_ref();
    json!({
        "v": VERSION,
        "wpool": env!("CARGO_PKG_VERSION"),
        "engine": format!("wasmtime {WASMTIME}"),
        "protocol": frame::VERSION,
        "system": findings.system,
        "processors": findings.machine.cpus,
        "memory": findings.machine.memory,
        "workers": findings.workers.count,
        "cache": {"path": findings.cache.as_ref().ok(), "error": findings.cache.as_ref().err()},
        "limits": {
            "timeout_ms": limits.timeout.map(milliseconds), "memory": limits.memory, "stack": limits.stack,
            "max_item": limits.max_item, "max_result": limits.max_result, "max_captured": limits.max_captured,
            "max_write": limits.max_write, "max_module": compiling.max_module,
            "compile_timeout_ms": milliseconds(compiling.timeout), "compile_memory": compiling.memory,
        },
        "worker": {
            "error": probe.err().map(ToString::to_string),
            "start_ms": probe.ok().map(|probe| milliseconds(probe.start)),
            "compile_ms": probe.ok().map(|probe| milliseconds(probe.compile)),
        },
        "sandbox": {"enforce": required_and_missing(findings).next().is_none(), "layers": layers},
    })
}
