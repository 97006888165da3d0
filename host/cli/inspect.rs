//! `wpool inspect`: what a module offers, what it needs, and which flag
//! grants it; as text, or as one JSON document of a stable form.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::InspectArgs;
use super::prepare::{Talk, artifact};
use super::units::about_size;
use super::{printer, schema};
use crate::describe::{Description, Function, Grant, Import, Shape};
use crate::error::Error;
use crate::escape::name as shown;
use crate::pool::module::Module;
use crate::pool::target::{Choice, choose};
use crate::wire::message::{Spread, Target};

/// Version of the JSON document.
const VERSION: u32 = 1;

/// Runs the command.
///
/// # Errors
/// When the module is refused or standard output cannot be written.
pub fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let talk = Talk::new(&args.messages);
    let (module, artifact) = artifact(&args.module, &args.engine, None, Default::default(), &talk)?;
    let sha256 = module.sha256()?;
    let text = if args.json {
        format!("{:#}\n", document(&module, &sha256, &artifact.description))
    } else {
        report(&module, &sha256, &artifact.description)
    };
    printer::document(text.as_bytes()).map_err(Error::io("cannot write to standard output"))
}

/// What `wpool run` would call without `--invoke`, where it would call
/// anything.
fn default_target(description: &Description) -> Option<Target> {
    let choice =
        Choice { invoke: None, abi: None, spread: Spread::Auto, with: &[], stub_imports: true, memory: u64::MAX };
    choose(description, &choice).ok()
}

fn kind(description: &Description) -> &'static str {
    match description.shape {
        Shape::Core => "core module",
        Shape::Component if description.componentized => "core module made a component",
        Shape::Component => "component",
    }
}

/// Plumbing last, else by name: the order does not depend on the linker.
fn functions(description: &Description) -> Vec<&Function> {
    let mut functions: Vec<_> = description.functions.iter().collect();
    functions.sort_by_key(|function| (function.hidden, function.path()));
    functions
}

fn imports(description: &Description) -> Vec<&Import> {
    let mut imports: Vec<_> = description.imports.iter().collect();
    imports.sort_by_key(|import| (&import.module, &import.name));
    imports
}

fn document(module: &Module, sha256: &str, description: &Description) -> Value {
    let target = default_target(description)
        .map(|target| json!({"abi": target.abi.as_str(), "interface": target.interface, "name": target.name}));
    json!({
        "v": VERSION,
        "module": module.name(),
        "size": module.size(),
        "sha256": sha256,
        "kind": match description.shape { Shape::Core => "core", Shape::Component => "component" },
        "componentized": description.componentized,
        "command": description.command,
        "memory_minimum": description.memory_minimum,
        "default": target,
        "functions": functions(description).into_iter().map(function_value).collect::<Vec<_>>(),
        "imports": imports(description).into_iter().map(import_value).collect::<Vec<_>>(),
    })
}

fn function_value(function: &Function) -> Value {
    let params: Vec<_> =
        function.ty.params.iter().map(|param| json!({"name": param.name, "type": param.ty.to_string()})).collect();
    json!({
        "path": function.path(),
        "interface": function.interface,
        "name": function.name,
        "type": function.ty.to_string(),
        "params": params,
        "results": function.ty.results.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "hidden": function.hidden,
        "item_schema": schema::item(&function.ty),
    })
}

fn import_value(import: &Import) -> Value {
    let (grant, flag) = match &import.grant {
        Grant::Always => ("always", None),
        Grant::Flag(flag) => ("flag", Some(flag)),
        Grant::Unknown => ("unknown", None),
    };
    json!({"module": import.module, "name": import.name, "kind": import.kind, "grant": grant, "flag": flag})
}

fn report(module: &Module, sha256: &str, description: &Description) -> String {
    // Writing to a string cannot fail.
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}, {}", shown(module.name()), kind(description), about_size(module.size()));
    let _ = writeln!(out, "sha256 {sha256}");
    if description.memory_minimum > 0 {
        let _ = writeln!(out, "memory from {}", about_size(description.memory_minimum));
    }
    let _ = writeln!(out, "\nFunctions:");
    let (plumbing, callable): (Vec<_>, Vec<_>) = functions(description).into_iter().partition(|one| one.hidden);
    for function in &callable {
        let _ = writeln!(out, "  {}: {}", shown(&function.path()), shown(&function.ty.to_string()));
    }
    if description.command {
        let _ = writeln!(out, "  _start (command: item on stdin or in arguments, result on stdout)");
    }
    if callable.is_empty() && !description.command {
        let _ = writeln!(out, "  none");
    }
    if !plumbing.is_empty() {
        let names: Vec<_> = plumbing.iter().map(|function| shown(&function.path())).collect();
        let _ = writeln!(out, "  (and by --invoke only: {})", names.join(", "));
    }
    match default_target(description) {
        Some(target) => {
            let name = target.interface.map_or(target.name.clone(), |interface| format!("{interface}/{}", target.name));
            let _ = writeln!(out, "Called without --invoke: {} ({})", shown(&name), target.abi.as_str());
        }
        None => {
            let _ = writeln!(out, "Called without --invoke: nothing; choose one");
        }
    }
    let _ = writeln!(out, "\nImports:");
    for import in imports(description) {
        let _ = writeln!(out, "  {}", import_line(import));
    }
    if description.imports.is_empty() {
        let _ = writeln!(out, "  none");
    }
    out
}

fn import_line(import: &Import) -> String {
    let mut name = shown(&import.module);
    if !import.name.is_empty() {
        name = format!("{name} {}", shown(&import.name));
    }
    match &import.grant {
        Grant::Always => name,
        Grant::Flag(flag) => format!("{name}  ({} grants it)", shown(flag)),
        Grant::Unknown if import.kind == "func" => format!("{name}  (unknown; --stub-imports makes it trap)"),
        Grant::Unknown => format!("{name}  (unknown {}; the module cannot run)", shown(&import.kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ty::{Field, FuncTy, Ty};

    fn function(name: &str, hidden: bool) -> Function {
        let params = vec![Field { name: "n".into(), ty: Ty::U32 }];
        Function { interface: None, name: name.into(), ty: FuncTy { params, results: vec![Ty::U64] }, hidden }
    }

    fn import(name: &str, grant: Grant) -> Import {
        Import { module: "env".into(), name: name.into(), kind: "func".into(), grant }
    }

    fn example() -> (Module, Description) {
        let description = Description {
            functions: vec![function("zeta", false), function("malloc", true), function("al\u{1b}pha", false)],
            imports: vec![import("b", Grant::Unknown), import("a", Grant::Flag("--dir".into()))],
            command: true,
            memory_minimum: 65536,
            ..Description::default()
        };
        (Module::from_bytes("m.wasm", b"x").unwrap(), description)
    }

    #[test]
    fn the_document_is_sorted_and_versioned() {
        let (module, description) = example();
        let value = document(&module, "abc", &description);
        assert_eq!(value["v"], 1);
        assert_eq!(value["sha256"], "abc");
        let paths: Vec<_> = value["functions"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
        assert_eq!(paths, ["al\u{1b}pha", "zeta", "malloc"]);
        assert_eq!(value["functions"][1]["type"], "func(n: u32) -> u64");
        assert_eq!(value["imports"][0]["flag"], "--dir");
        assert_eq!(value["imports"][1]["grant"], "unknown");
        assert_eq!(value["default"]["name"], "_start");
    }

    #[test]
    fn the_report_names_flags_and_escapes_names() {
        let (module, description) = example();
        let text = report(&module, "abc", &description);
        assert!(text.contains("zeta: func(n: u32) -> u64"), "{text}");
        assert!(text.contains("env a  (--dir grants it)"), "{text}");
        assert!(text.contains("--stub-imports"), "{text}");
        assert!(text.contains("by --invoke only: malloc"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
