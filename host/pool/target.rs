//! Which function the tasks of a pool call, and how: decided once, from the
//! module's description.
//!
//! Pure. Names in errors are guest text and are written escaped.

use std::fmt::Write as _;

use crate::describe::{Description, Function, Grant, Shape};
use crate::error::Error;
use crate::escape::name as shown;
use crate::value::ty::Ty;
use crate::wire::message::{Abi, Spread, Target};

/// Exports that an error lists before it only counts.
const LISTED: usize = 20;

/// What the caller asked for.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// `--invoke`: `func`, `iface/func` or `pkg:iface@ver/func`.
    pub invoke: Option<&'a str>,
    /// `--abi`; `None` finds it out.
    pub abi: Option<Abi>,
    /// How items become arguments.
    pub spread: Spread,
    /// Parameters fixed by `--with`: name and JSON text.
    pub with: &'a [(String, String)],
    /// `--stub-imports`: unknown function imports trap when called.
    pub stub_imports: bool,
    /// `--memory`, in bytes.
    pub memory: u64,
}

/// Chooses the function and its ABI.
///
/// # Errors
/// [`Error::Module`] when the module needs what it is not given, or when no
/// function fits; the message lists what there is.
pub fn choose(description: &Description, choice: &Choice<'_>) -> Result<Target, Error> {
    check_imports(description, choice.stub_imports)?;
    check_memory(description, choice.memory)?;
    match pick(description, choice)? {
        Picked::Command => command(choice, None),
        Picked::Function(function) => call(description, choice, function),
    }
}

/// Every function that can be called at all, in each way that it can: with an
/// item as its one argument, and with an item spread over its parameters.
///
/// # Errors
/// [`Error::Module`] when the module needs what it is not given.
pub fn targets(description: &Description, choice: &Choice<'_>) -> Result<Vec<Target>, Error> {
    check_imports(description, choice.stub_imports)?;
    check_memory(description, choice.memory)?;
    let one = Choice { spread: Spread::One, ..*choice };
    let star = Choice { spread: Spread::Star, ..*choice };
    let mut found = Vec::new();
    if description.command && choice.abi.is_none_or(|abi| abi == Abi::Command) {
        found.extend(command(&one, None));
    }
    for function in description.functions.iter().filter(|function| !(description.command && function.name == "_start"))
    {
        if let Ok(target) = call(description, &one, function) {
            let spread = (target.abi != Abi::Command).then_some(Spread::One);
            found.push(Target { spread, ..target });
        }
        if choice.abi != Some(Abi::Command)
            && let Ok(target) = call(description, &star, function)
        {
            found.push(Target { spread: Some(Spread::Star), ..target });
        }
    }
    Ok(found)
}

/// A function found by name or by being the only one.
enum Picked<'a> {
    /// `_start` or `wasi:cli/run`.
    Command,
    /// A callable export.
    Function(&'a Function),
}

fn check_imports(description: &Description, stubbed: bool) -> Result<(), Error> {
    let unknown: Vec<_> = description
        .imports
        .iter()
        .filter(|import| import.grant == Grant::Unknown && !(stubbed && import.kind == "func"))
        .collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    let mut text = format!("unknown import {} ({})", import_name(&first.module, &first.name), shown(&first.kind));
    if unknown.len() > 1 {
        let _ = write!(text, " and {} more", unknown.len() - 1); // writing to a string cannot fail
    }
    if unknown.iter().all(|import| import.kind == "func") {
        text.push_str("; nothing provides it (--stub-imports makes unknown functions trap when called)");
    } else {
        text.push_str("; nothing provides it");
    }
    Err(Error::Module(text))
}

fn import_name(module: &str, name: &str) -> String {
    if name.is_empty() { format!("`{}`", shown(module)) } else { format!("`{}` `{}`", shown(module), shown(name)) }
}

fn check_memory(description: &Description, memory: u64) -> Result<(), Error> {
    if description.memory_minimum <= memory {
        return Ok(());
    }
    Err(Error::Module(format!(
        "the module's memory starts at {} bytes, over the limit of {memory} (raise it with --memory)",
        description.memory_minimum
    )))
}

fn pick<'a>(description: &'a Description, choice: &Choice<'_>) -> Result<Picked<'a>, Error> {
    if let Some(wanted) = choice.invoke {
        // A module's `_start` may stand among its functions, too.
        let program = wanted == "_start" && description.command && matches!(choice.abi, None | Some(Abi::Command));
        return if program { Ok(Picked::Command) } else { named(description, wanted) };
    }
    if choice.abi == Some(Abi::Command) {
        return if description.command { Ok(Picked::Command) } else { Err(no_command(description)) };
    }
    let candidates: Vec<&Function> = description.functions.iter().filter(|function| !function.hidden).collect();
    if let [one] = candidates.as_slice() {
        return Ok(Picked::Function(one));
    }
    let run: Vec<_> = candidates.iter().filter(|function| function.name == "run").collect();
    if let [one] = run.as_slice() {
        return Ok(Picked::Function(one));
    }
    if description.command {
        return Ok(Picked::Command);
    }
    Err(Error::Module(if candidates.is_empty() {
        format!("the module exports no function to call and no `_start`{}", listing(&description.functions))
    } else {
        let list = listing(candidates.iter().copied());
        format!("the module exports {} functions; choose one with --invoke{list}", candidates.len())
    }))
}

fn no_command(description: &Description) -> Error {
    let list = listing(&description.functions);
    Error::Module(format!(
        "the module exports no `_start`, so it is no command; name an export without parameters with --invoke{list}"
    ))
}

fn named<'a>(description: &'a Description, wanted: &str) -> Result<Picked<'a>, Error> {
    let matches = find(&description.functions, wanted);
    match matches.as_slice() {
        [one] => return Ok(Picked::Function(one)),
        [] => {}
        several => {
            let list = listing(several.iter().copied());
            return Err(Error::Module(format!("`{}` is ambiguous; name it in full{list}", shown(wanted))));
        }
    }
    let is_command = wanted == "_start" || wanted.starts_with("wasi:cli/run");
    if is_command && description.command {
        return Ok(Picked::Command);
    }
    let mut text = format!("no function `{}` in the module", shown(wanted));
    if let Some(near) = nearest(wanted, description.functions.iter().map(Function::path)) {
        let _ = write!(text, "; did you mean `{}`?", shown(&near)); // writing to a string cannot fail
    }
    text.push_str(&listing(&description.functions));
    if description.command {
        text.push_str("\n  _start (command)");
    }
    Err(Error::Module(text))
}

/// Functions that `wanted` may mean; the most exact reading that finds any.
fn find<'a>(functions: &'a [Function], wanted: &str) -> Vec<&'a Function> {
    let by =
        |matches: &dyn Fn(&Function) -> bool| functions.iter().filter(|function| matches(function)).collect::<Vec<_>>();
    let exact = by(&|function| function.path() == wanted);
    if !exact.is_empty() {
        return exact;
    }
    let plain = by(&|function| function.name == wanted);
    if !plain.is_empty() {
        return plain;
    }
    let Some((prefix, name)) = wanted.rsplit_once('/') else { return Vec::new() };
    by(&|function| {
        function.name == name && function.interface.as_deref().is_some_and(|full| interface_is(full, prefix))
    })
}

/// Whether `prefix` names the interface `full`, such as `a:b/c@1.0.0`, without
/// its version, its package or both.
fn interface_is(full: &str, prefix: &str) -> bool {
    let unversioned = full.split('@').next().unwrap_or(full);
    let short = |name: &str| name.rsplit('/').next().is_some_and(|last| last == prefix);
    unversioned == prefix || short(full) || short(unversioned)
}

/// The name in `names` that a typing error for `wanted` is nearest to.
pub(crate) fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let target = plain(wanted);
    let allowed = (target.chars().count() / 3).max(2);
    names
        .map(|name| {
            let last = plain(name.rsplit('/').next().unwrap_or(&name));
            let distance =
                strsim::damerau_levenshtein(&target, &plain(&name)).min(strsim::damerau_levenshtein(&target, &last));
            (distance, name)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Decides the ABI of a chosen function and whether it fits the mode.
fn call(description: &Description, choice: &Choice<'_>, function: &Function) -> Result<Target, Error> {
    let abi = match choice.abi {
        Some(Abi::Command) => return command(choice, Some(function)),
        Some(abi) => demanded(description, function, abi)?,
        None => found(description, choice, function),
    };
    if abi == Abi::Bytes {
        check_bytes(choice, function)?;
    } else {
        check_types(function)?;
        check_arity(description, choice, function)?;
    }
    Ok(Target { abi, interface: function.interface.clone(), name: function.name.clone(), spread: None })
}

fn found(description: &Description, choice: &Choice<'_>, function: &Function) -> Abi {
    match description.shape {
        Shape::Component => Abi::Component,
        Shape::Core
            if choice.spread != Spread::Star && choice.with.is_empty() && takes_bytes(description, function) =>
        {
            Abi::Bytes
        }
        Shape::Core => Abi::Core,
    }
}

/// Whether a core function is `(i32, i32) -> i64` beside a memory and an
/// allocator.
fn takes_bytes(description: &Description, function: &Function) -> bool {
    let two_pointers = matches!(function.ty.params.as_slice(), [a, b] if a.ty == Ty::I32 && b.ty == Ty::I32);
    let packed = matches!(function.ty.results.as_slice(), [Ty::I64]);
    two_pointers && packed && description.exports_memory && description.allocator.is_some()
}

/// Whether the ABI that the caller insists on fits.
fn demanded(description: &Description, function: &Function, abi: Abi) -> Result<Abi, Error> {
    let name = shown(&function.path());
    let problem = match (abi, description.shape) {
        (Abi::Component, Shape::Core) => Some("the module is no component".to_owned()),
        (Abi::Core | Abi::Bytes, Shape::Component) => {
            Some(format!("the module is a component; --abi {} is for core modules", abi.as_str()))
        }
        (Abi::Bytes, Shape::Core) if !takes_bytes(description, function) => Some(format!(
            "function `{name}` cannot take bytes: it must be (i32, i32) -> i64 beside an exported `memory` and `alloc`, \
             `allocate`, `malloc` or `cabi_realloc`; it is {}",
            shown(&function.ty.to_string())
        )),
        _ => None,
    };
    problem.map_or(Ok(abi), |text| Err(Error::Module(text)))
}

fn command(choice: &Choice<'_>, function: Option<&Function>) -> Result<Target, Error> {
    if let Some(abi) = choice.abi
        && abi != Abi::Command
    {
        return Err(Error::Module(format!("`_start` is a command and cannot be called by --abi {}", abi.as_str())));
    }
    if !choice.with.is_empty() {
        return Err(Error::Module("--with fixes a parameter, and a command has none".to_owned()));
    }
    let Some(function) = function else {
        return Ok(Target { abi: Abi::Command, interface: None, name: "_start".to_owned(), spread: None });
    };
    if !function.ty.params.is_empty() || !function.ty.results.is_empty() {
        return Err(Error::Module(format!(
            "function `{}` is {}; a command takes and returns nothing",
            shown(&function.path()),
            shown(&function.ty.to_string())
        )));
    }
    Ok(Target { abi: Abi::Command, interface: function.interface.clone(), name: function.name.clone(), spread: None })
}

fn check_bytes(choice: &Choice<'_>, function: &Function) -> Result<(), Error> {
    let name = shown(&function.path());
    if choice.spread == Spread::Star {
        return Err(Error::Module(format!("function `{name}` takes one item's bytes: use --map instead of --starmap")));
    }
    if !choice.with.is_empty() {
        return Err(Error::Module(format!("--with fixes a parameter, and `{name}` takes the item's bytes only")));
    }
    Ok(())
}

/// Refuses parameters and results that JSON cannot carry, naming them.
fn check_types(function: &Function) -> Result<(), Error> {
    let name = shown(&function.path());
    for param in &function.ty.params {
        if let Some(part) = param.ty.unsupported() {
            let param = shown(&param.name);
            let part = shown(part);
            return Err(Error::Module(format!(
                "function `{name}`: parameter `{param}` holds `{part}`, which JSON cannot carry"
            )));
        }
    }
    match function.ty.results.iter().find_map(Ty::unsupported) {
        Some(part) => Err(Error::Module(format!(
            "function `{name}`: its result holds `{}`, which JSON cannot carry",
            shown(part)
        ))),
        None => Ok(()),
    }
}

fn check_arity(description: &Description, choice: &Choice<'_>, function: &Function) -> Result<(), Error> {
    let name = shown(&function.path());
    let params = &function.ty.params;
    for (wanted, _) in choice.with {
        if params.iter().any(|param| param.name == *wanted) {
            continue;
        }
        let mut text = format!("function `{name}` has no parameter `{}` for --with", shown(wanted));
        if let Some(near) = nearest(wanted, params.iter().map(|param| param.name.clone())) {
            let _ = write!(text, "; did you mean `{}`?", shown(&near)); // writing to a string cannot fail
        }
        let _ = write!(text, "\n  {}", signature(function)); // writing to a string cannot fail
        return Err(Error::Module(text));
    }
    let left: Vec<&str> = params
        .iter()
        .map(|param| param.name.as_str())
        .filter(|name| choice.with.iter().all(|(fixed, _)| fixed != name))
        .collect();
    if choice.spread != Spread::One || left.len() == 1 {
        return Ok(());
    }
    let rest = if choice.with.is_empty() { "" } else { " besides those fixed by --with" };
    let program =
        if description.command && choice.invoke.is_none() { "; or run the program with --invoke _start" } else { "" };
    let advice = if left.is_empty() {
        format!("takes no parameters{rest}: use --starmap with [] for each item, or --apply '[]'")
    } else {
        let array: Vec<_> = left.iter().map(|name| shown(name)).collect();
        format!(
            "takes {} parameters{rest}: use --starmap with [{}] for each item, or fix all but one with --with",
            left.len(),
            array.join(", ")
        )
    };
    Err(Error::Module(format!(
        "--map passes one parameter, and function `{name}` {advice}{program}\n  {}",
        signature(function)
    )))
}

/// `name: func(a: u32) -> string`, escaped.
pub(crate) fn signature(function: &Function) -> String {
    format!("{}: {}", shown(&function.path()), shown(&function.ty.to_string()))
}

/// The functions as lines under an error; plumbing only if there is no other.
fn listing<'a>(functions: impl IntoIterator<Item = &'a Function>) -> String {
    let all: Vec<&Function> = functions.into_iter().collect();
    let visible: Vec<&Function> = all.iter().copied().filter(|function| !function.hidden).collect();
    let lines = if visible.is_empty() { all } else { visible };
    let mut text = String::new();
    for function in lines.iter().take(LISTED) {
        let _ = write!(text, "\n  {}", signature(function)); // writing to a string cannot fail
    }
    if lines.len() > LISTED {
        let _ = write!(text, "\n  … and {} more (wpool inspect lists all)", lines.len() - LISTED); // as above
    }
    text
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
