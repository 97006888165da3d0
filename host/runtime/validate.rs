//! The first look at a module, before anything is compiled: what kind of file
//! it is, whether it is valid with the proposals that are on, and whether its
//! structure stays within what compiles in reasonable time.

use std::borrow::Cow;

use wasmparser::{FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use crate::limits::Features;
use crate::runtime::engine::accepted;
use crate::wire::message::Refusal;

/// Most functions that one module defines. The largest real modules have
/// about 200 000.
const MAX_FUNCTIONS: u32 = 500_000;
/// Most functions without a look at their size: each one costs kilobytes of
/// the compiler's memory, even if it is empty.
const MAX_SMALL_FUNCTIONS: u32 = 100_000;
/// What more functions than that must have on average, in bytes.
const MIN_AVERAGE_BODY: u32 = 16;
/// Deepest nesting of blocks in one function. A compiler for Go begins one for
/// each of its basic blocks: large functions have tens of thousands.
const MAX_NESTING: u32 = 100_000;
/// Most imports and most exports of one module: the host holds a description of
/// each.
const MAX_NAMES: u32 = 50_000;
/// Most tables of one module.
const MAX_TABLES: u32 = 100;
/// Most memories of one module, where there may be several.
const MAX_MEMORIES: u32 = 100;

const MAGIC: &[u8; 4] = b"\0asm";
const CORE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

/// What a wasm binary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// A core module.
    Core,
    /// A core module that carries the types of a component.
    CoreWithTypes,
    /// A component.
    Component,
}

/// The wasm binary that a file is or that its text stands for.
///
/// # Errors
/// A file that is neither.
pub fn to_binary(file: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    if file.is_empty() {
        return Err(Refusal::module("the module is empty"));
    }
    if file.starts_with(MAGIC) {
        return Ok(Cow::Borrowed(file));
    }
    let refused = |what: &str| Err(Refusal::module(format!("the file is no WebAssembly module: {what}")));
    if MAGIC.starts_with(file) {
        return refused("it is cut short");
    }
    if file.starts_with(b"\x7fELF") {
        return refused("it is a native program or a precompiled artifact; give the .wasm itself");
    }
    if file.starts_with(b"\x1f\x8b") || file.starts_with(b"PK\x03\x04") {
        return refused("it is compressed; unpack it first");
    }
    let looks_like_text = file.trim_ascii_start().first().is_some_and(|first| matches!(first, b'(' | b';'));
    if !looks_like_text {
        return refused("it begins neither as a binary nor as .wat text");
    }
    match wat::parse_bytes(file) {
        Ok(binary) => Ok(Cow::Owned(binary.into_owned())),
        Err(error) => Err(Refusal::module(text_error(&error.to_string()))),
    }
}

/// Puts the position of a text error first. The parser gives the message, then
/// a line `--> <anon>:LINE:COLUMN`, then the source.
fn text_error(rendered: &str) -> String {
    let message = rendered.lines().next().unwrap_or("not .wat text");
    let position = rendered.lines().find_map(|line| line.trim_start().strip_prefix("--> <anon>:"));
    match position.and_then(|position| position.split_once(':')) {
        Some((line, column)) => format!("the module's text, line {line} column {column}: {message}"),
        None => format!("the module's text: {message}"),
    }
}

/// Tells core modules from components by their heads.
///
/// # Errors
/// A file that is cut short or of another version.
pub fn kind(binary: &[u8]) -> Result<Binary, Refusal> {
    match binary.get(4..8) {
        None => Err(Refusal::module("the module is cut short: it ends within its first 8 bytes")),
        Some(version) if version == COMPONENT => Ok(Binary::Component),
        Some(version) if version == CORE => {
            Ok(if has_component_types(binary) { Binary::CoreWithTypes } else { Binary::Core })
        }
        Some(version) => Err(Refusal::module(format!("the module is of an unknown version {version:02x?}"))),
    }
}

/// Whether wit-bindgen left the types of a component in a core module.
fn has_component_types(binary: &[u8]) -> bool {
    Parser::new(0).parse_all(binary).map_while(Result::ok).any(|payload| match payload {
        Payload::CustomSection(section) => section.name().starts_with("component-type"),
        _ => false,
    })
}

/// Checks a whole binary with the proposals that are on.
///
/// # Errors
/// What is invalid, with the `-W` that would make it valid if there is one;
/// or which structural limit it is over.
pub fn validate(binary: &[u8], features: Features, component: bool) -> Result<(), Refusal> {
    match check(binary, accepted(features, component), features.multi_memory) {
        Ok(()) => Ok(()),
        Err(Invalid::Structure(message)) => Err(Refusal::module(message)),
        Err(Invalid::Binary(error)) => Err(Refusal::module(explain(binary, features, component, &error))),
    }
}

enum Invalid {
    Binary(wasmparser::BinaryReaderError),
    Structure(String),
}

impl From<wasmparser::BinaryReaderError> for Invalid {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Binary(error)
    }
}

fn check(binary: &[u8], features: WasmFeatures, multi_memory: bool) -> Result<(), Invalid> {
    let mut validator = Validator::new_with_features(features);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(binary) {
        let payload = payload?;
        check_structure(&payload, multi_memory)?;
        if let ValidPayload::Func(func, body) = validator.payload(&payload)? {
            let mut function = func.into_validator(allocations);
            check_body(&mut function, &body)?;
            allocations = function.into_allocations();
        }
    }
    Ok(())
}

fn check_body(
    function: &mut wasmparser::FuncValidator<wasmparser::ValidatorResources>,
    body: &wasmparser::FunctionBody<'_>,
) -> Result<(), Invalid> {
    let mut reader = body.get_binary_reader();
    function.read_locals(&mut reader)?;
    while !reader.eof() {
        reader.visit_operator(&mut function.visitor(reader.original_position()))??;
        if function.control_stack_height() > MAX_NESTING {
            return Err(Invalid::Structure(format!(
                "function {} nests blocks more than {MAX_NESTING} deep",
                function.index()
            )));
        }
    }
    Ok(reader.finish_expression(&function.visitor(reader.original_position()))?)
}

fn check_structure(payload: &Payload<'_>, multi_memory: bool) -> Result<(), Invalid> {
    let (count, most, what) = match payload {
        Payload::FunctionSection(section) => (section.count(), MAX_FUNCTIONS, "functions"),
        Payload::CodeSectionStart { count, size, .. }
            if *count > MAX_SMALL_FUNCTIONS && size / count < MIN_AVERAGE_BODY =>
        {
            return Err(Invalid::Structure(format!(
                "the module defines {count} functions of {} bytes on average; more than {MAX_SMALL_FUNCTIONS} are \
                 taken only where they have {MIN_AVERAGE_BODY} or more",
                size / count
            )));
        }
        Payload::ImportSection(section) => (section.count(), MAX_NAMES, "imports"),
        Payload::ExportSection(section) => (section.count(), MAX_NAMES, "exports"),
        Payload::TableSection(section) => (section.count(), MAX_TABLES, "tables"),
        Payload::MemorySection(section) if multi_memory => (section.count(), MAX_MEMORIES, "memories"),
        _ => return Ok(()),
    };
    if count > most {
        return Err(Invalid::Structure(format!("the module has {count} {what}; at most {most} are taken")));
    }
    Ok(())
}

/// Proposals that no flag switches on, with the names people know.
const UNSUPPORTED: [(WasmFeatures, &str); 6] = [
    (WasmFeatures::THREADS, "threads"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions"),
    (WasmFeatures::STACK_SWITCHING, "stack switching"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads"),
    (WasmFeatures::MEMORY_CONTROL, "memory control"),
];

/// What is on, and one more.
fn only(mut features: Features, name: &str) -> Features {
    features.enable(name);
    features
}

/// Finds out which proposals an invalid module needs by trying them.
fn explain(binary: &[u8], features: Features, component: bool, error: &wasmparser::BinaryReaderError) -> String {
    let message = format!("the module is invalid: {} (at byte {:#x})", error.message(), error.offset());
    let valid = |features| !matches!(check(binary, features, true), Err(Invalid::Binary(_)));
    let mut all = features;
    for name in Features::NAMES {
        all.enable(name);
    }
    let with_flags = accepted(all, component);
    if valid(with_flags) {
        let needed: Vec<String> = Features::NAMES
            .into_iter()
            .filter(|name| !features.names().contains(name))
            .filter(|name| !valid(without(all, name, component)))
            .map(|name| format!("-W {name}"))
            .collect();
        if needed.is_empty() {
            // Each of several would do: the first that does.
            let one = Features::NAMES.into_iter().find(|name| valid(accepted(only(features, name), component)));
            let hint = one.map_or_else(String::new, |name| format!(" (switch it on with -W {name})"));
            return format!("the module needs a proposal that is off{hint}: {}", error.message());
        }
        let flags = needed.join(" ");
        return format!("the module needs a proposal that is off (switch it on with {flags}): {}", error.message());
    }
    let needed = UNSUPPORTED.into_iter().find(|(feature, _)| valid(with_flags | *feature));
    match needed {
        Some((_, name)) => format!("the module uses {name}, which is not supported: {}", error.message()),
        None => message,
    }
}

/// All features but one.
fn without(all: Features, name: &str, component: bool) -> WasmFeatures {
    let mut rest = Features::default();
    for other in all.names() {
        if other != name {
            rest.enable(other);
        }
    }
    accepted(rest, component)
}
