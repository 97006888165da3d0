//! What a component offers and needs, from its validated binary: functions
//! with their types, imports with what answers them, and the counts that size
//! the pooling allocator. Compiles and runs nothing.

use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId, ComponentValType,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Instance, Parser, Payload, PrimitiveValType, ValidPayload, Validator, WasmFeatures,
};

use crate::describe::{Description, Function, Grant, Import, Needs, Shape};
use crate::runtime::preview1;
use crate::value::ty::{Case, Field, FuncTy, Ty};
use crate::wire::message::Refusal;

/// A type nested deeper than this is not described: descriptions travel as
/// JSON, whose readers bound the depth of their recursion.
const MAX_TYPE_DEPTH: usize = 24;
/// What may be spent on describing the types of one component, in parts and
/// bytes of names: a type that is used twice in another doubles with every
/// level, and is a tree only here.
const TYPE_BUDGET: usize = 1 << 20;
/// What one part takes of the budget beside its names.
const PART: usize = 16;

/// The interface of commands, whatever its version.
const RUN: &str = "wasi:cli/run";

/// Describes a valid component.
///
/// # Errors
/// A binary that is no valid component.
pub fn describe(wasm: &[u8]) -> Result<Description, Refusal> {
    let types = types_of(wasm).map_err(unreadable)?;
    let Some(types) = &types else { return Err(Refusal::module("the component is cut short")) };
    let types = types.as_ref();
    let mut description = Description { shape: Shape::Component, ..Description::default() };
    let mut walk = Walk { types, budget: TYPE_BUDGET, frames: Vec::new(), sizes: Sizes::default(), composed: false };
    for payload in Parser::new(0).parse_all(wasm) {
        let described = payload.and_then(|payload| walk.payload(payload, &mut description));
        described.map_err(unreadable)?;
    }
    description.needs = walk.sizes.needs;
    if walk.composed {
        // Calls between components go through modules that wasmtime adds: one
        // at most before each instance, and one at the end.
        description.needs.instances = walk.sizes.needs.instances.saturating_mul(2).saturating_add(1);
    }
    description.memory_minimum = walk.sizes.memory_bytes;
    Ok(description)
}

fn unreadable(error: BinaryReaderError) -> Refusal {
    Refusal::module(format!("cannot read the component: {error}"))
}

/// The types of a component, without a look at the bodies of its functions.
/// What may be used in it was decided by its validation: all is taken here.
fn types_of(wasm: &[u8]) -> wasmparser::Result<Option<Types>> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut outermost = None;
    for payload in Parser::new(0).parse_all(wasm) {
        // Nested modules and components end first.
        if let ValidPayload::End(types) = validator.payload(&payload?)? {
            outermost = Some(types);
        }
    }
    Ok(outermost)
}

/// What answers an import of this name.
#[must_use]
pub fn grant(import: &str) -> Grant {
    let Some((interface, version)) = import.split_once('@') else { return Grant::Unknown };
    if let Some(grant) = pool_grant(interface, version) {
        return grant;
    }
    let patch = version.strip_prefix("0.2.");
    let supported = patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()));
    if !supported {
        return Grant::Unknown;
    }
    match interface {
        "wasi:cli/environment"
        | "wasi:cli/exit"
        | "wasi:cli/stdin"
        | "wasi:cli/stdout"
        | "wasi:cli/stderr"
        | "wasi:cli/terminal-input"
        | "wasi:cli/terminal-output"
        | "wasi:cli/terminal-stdin"
        | "wasi:cli/terminal-stdout"
        | "wasi:cli/terminal-stderr"
        | "wasi:clocks/monotonic-clock"
        | "wasi:clocks/wall-clock"
        | "wasi:io/error"
        | "wasi:io/poll"
        | "wasi:io/streams"
        | "wasi:random/insecure"
        | "wasi:random/insecure-seed"
        | "wasi:random/random" => Grant::Always,
        "wasi:filesystem/preopens" | "wasi:filesystem/types" => Grant::Flag("--dir".to_owned()),
        "wasi:sockets/instance-network"
        | "wasi:sockets/ip-name-lookup"
        | "wasi:sockets/network"
        | "wasi:sockets/tcp"
        | "wasi:sockets/tcp-create-socket"
        | "wasi:sockets/udp"
        | "wasi:sockets/udp-create-socket" => Grant::Flag("--allow-net".to_owned()),
        _ => Grant::Unknown,
    }
}

/// What answers an interface of the pool's own, and of key-value stores.
fn pool_grant(interface: &str, version: &str) -> Option<Grant> {
    let own = |name: &str| interface.strip_prefix("wpool:pool/") == Some(name);
    let standard = |name: &str| interface.strip_prefix("wasi:keyvalue/") == Some(name);
    if version.starts_with("0.1.") && ["types", "context", "log", "progress"].into_iter().any(own) {
        return Some(Grant::Always);
    }
    let shared = version.starts_with("0.1.") && ["queue", "lock", "semaphore", "counter", "event"].into_iter().any(own)
        || version == "0.2.0-draft" && ["store", "atomics"].into_iter().any(standard);
    shared.then(|| Grant::Flag("--shared".to_owned()))
}

/// Whether an export of this name makes the component a command.
#[must_use]
pub fn is_run(export: &str) -> bool {
    matches!(export.split_once('@'), Some((RUN, version)) if version.starts_with("0.2."))
}

/// What instances of one component, module or set of them take.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    needs: Needs,
    memory_bytes: u64,
}

impl Sizes {
    fn add(&mut self, other: Self) {
        let (needs, more) = (&mut self.needs, other.needs);
        needs.instances = needs.instances.saturating_add(more.instances);
        needs.memories = needs.memories.saturating_add(more.memories);
        needs.tables = needs.tables.saturating_add(more.tables);
        needs.table_elements = needs.table_elements.max(more.table_elements);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }
}

/// A component or module whose end has not been reached.
#[derive(Default)]
struct Open {
    is_module: bool,
    /// What one instance of it takes.
    sizes: Sizes,
    /// Index space of core modules; `None` for those from elsewhere.
    modules: Vec<Option<Sizes>>,
    /// Index space of components.
    components: Vec<Option<Sizes>>,
}

struct Walk<'a> {
    types: TypesRef<'a>,
    budget: usize,
    frames: Vec<Open>,
    sizes: Sizes,
    /// Components in it are instantiated.
    composed: bool,
}

impl Walk<'_> {
    fn payload(&mut self, payload: Payload<'_>, description: &mut Description) -> wasmparser::Result<()> {
        let outermost = self.frames.len() == 1;
        match payload {
            Payload::Version { encoding, .. } => {
                let is_module = encoding == wasmparser::Encoding::Module;
                self.frames.push(Open { is_module, ..Open::default() });
            }
            Payload::End(_) => self.end(),
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    self.declare(import.ty);
                    if outermost {
                        description.imports.extend(import_of(import.name.name, import.ty));
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    // An export is also a new item of its index space.
                    self.define(export.kind, None);
                    if outermost {
                        self.export(export.name.name, description);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    description.adapted |= import?.module == preview1::MODULE;
                }
            }
            other => self.size(other)?,
        }
        Ok(())
    }

    /// Reads what decides how much an instance takes.
    fn size(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    match alias? {
                        ComponentAlias::InstanceExport { kind, .. } => self.define(kind, None),
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                            let sizes = self.outer(count).and_then(|open| open.modules.get(index as usize).copied());
                            self.define(ComponentExternalKind::Module, sizes.flatten());
                        }
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            let sizes = self.outer(count).and_then(|open| open.components.get(index as usize).copied());
                            self.define(ComponentExternalKind::Component, sizes.flatten());
                        }
                        ComponentAlias::Outer { .. } | ComponentAlias::CoreInstanceExport { .. } => {}
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiate(|open| open.modules.get(module_index as usize).copied().flatten());
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        self.composed = true;
                        self.instantiate(|open| open.components.get(component_index as usize).copied().flatten());
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let page = 1u64 << memory.page_size_log2.unwrap_or(16).min(16);
                    self.add(Sizes {
                        needs: Needs { memories: 1, ..Needs::default() },
                        memory_bytes: memory.initial.saturating_mul(page),
                    });
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let needs = Needs { tables: 1, table_elements: table.ty.initial, ..Needs::default() };
                    self.add(Sizes { needs, memory_bytes: 0 });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn outer(&self, count: u32) -> Option<&Open> {
        let innermost = self.frames.len().checked_sub(1)?;
        self.frames.get(innermost.checked_sub(count as usize)?)
    }

    fn add(&mut self, sizes: Sizes) {
        if let Some(open) = self.frames.last_mut() {
            open.sizes.add(sizes);
        }
    }

    fn end(&mut self) {
        let Some(mut done) = self.frames.pop() else { return };
        if done.is_module {
            done.sizes.needs.instances = 1;
        }
        match self.frames.last_mut() {
            None => self.sizes = done.sizes,
            Some(open) if done.is_module => open.modules.push(Some(done.sizes)),
            Some(open) => open.components.push(Some(done.sizes)),
        }
    }

    fn declare(&mut self, ty: ComponentTypeRef) {
        self.define(ty.kind(), None);
    }

    fn define(&mut self, kind: ComponentExternalKind, sizes: Option<Sizes>) {
        let Some(open) = self.frames.last_mut() else { return };
        match kind {
            ComponentExternalKind::Module => open.modules.push(sizes),
            ComponentExternalKind::Component => open.components.push(sizes),
            ComponentExternalKind::Func
            | ComponentExternalKind::Value
            | ComponentExternalKind::Type
            | ComponentExternalKind::Instance => {}
        }
    }

    /// Counts an instance. Of one that comes from elsewhere it is only known
    /// that it is there.
    fn instantiate(&mut self, find: impl FnOnce(&Open) -> Option<Sizes>) {
        let unknown = Needs { instances: 1, memories: 1, tables: 1, table_elements: 0 };
        let found = self.frames.last().and_then(find);
        self.add(found.unwrap_or(Sizes { needs: unknown, memory_bytes: 0 }));
    }

    fn export(&mut self, name: &str, description: &mut Description) {
        let Some(item) = self.types.component_item_for_export(name) else { return };
        match item.ty {
            ComponentEntityType::Func(id) => description.functions.push(self.function(None, name, id)),
            ComponentEntityType::Instance(_) if is_run(name) => description.command = true,
            ComponentEntityType::Instance(id) => self.interface(name, id, description),
            ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Type { .. }
            | ComponentEntityType::Component(_) => {}
        }
    }

    fn interface(&mut self, interface: &str, id: ComponentInstanceTypeId, description: &mut Description) {
        let types = self.types;
        for (name, item) in &types[id].exports {
            if let ComponentEntityType::Func(id) = item.ty {
                description.functions.push(self.function(Some(interface), name, id));
            }
        }
    }

    fn function(&mut self, interface: Option<&str>, name: &str, id: ComponentFuncTypeId) -> Function {
        let types = self.types;
        let func = &types[id];
        let params = func.params.iter().map(|(name, ty)| Field { name: name.to_string(), ty: self.ty(*ty, 0) });
        let params = params.collect();
        let results = func.result.into_iter().map(|ty| self.ty(ty, 0)).collect();
        Function {
            interface: interface.map(str::to_owned),
            name: name.to_owned(),
            ty: FuncTy { params, results },
            // What belongs to a resource is of no use without one.
            hidden: name.starts_with('['),
        }
    }

    fn ty(&mut self, ty: ComponentValType, depth: usize) -> Ty {
        let id = match ty {
            ComponentValType::Primitive(primitive) => return primitive_ty(primitive),
            ComponentValType::Type(id) => id,
        };
        let types = self.types;
        let price = PART + names_in(&types[id]);
        if depth == MAX_TYPE_DEPTH || self.budget < price {
            return Ty::Unsupported("too large a type".to_owned());
        }
        self.budget -= price;
        let mut inner = |ty: ComponentValType| self.ty(ty, depth + 1);
        match &types[id] {
            ComponentDefinedType::Primitive(primitive) => primitive_ty(*primitive),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter();
                Ty::Record(fields.map(|(name, ty)| Field { name: name.to_string(), ty: inner(*ty) }).collect())
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter();
                Ty::Variant(
                    cases.map(|(name, case)| Case { name: name.to_string(), ty: case.ty.map(&mut inner) }).collect(),
                )
            }
            ComponentDefinedType::List { element, .. } => Ty::List(Box::new(inner(*element))),
            ComponentDefinedType::Tuple(tuple) => Ty::Tuple(tuple.types.iter().map(|ty| inner(*ty)).collect()),
            ComponentDefinedType::Flags(names) => Ty::Flags(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Enum(names) => Ty::Enum(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Option { ty, .. } => Ty::Option(Box::new(inner(*ty))),
            ComponentDefinedType::Result { ok, err, .. } => {
                let ok = ok.map(&mut inner).map(Box::new);
                Ty::Result(ok, err.map(inner).map(Box::new))
            }
            ComponentDefinedType::Own(_) => Ty::Unsupported("a resource".to_owned()),
            ComponentDefinedType::Borrow(_) => Ty::Unsupported("a borrowed resource".to_owned()),
            ComponentDefinedType::Future { .. } => Ty::Unsupported("a future".to_owned()),
            ComponentDefinedType::Stream { .. } => Ty::Unsupported("a stream".to_owned()),
            ComponentDefinedType::Map { .. } => Ty::Unsupported("a map".to_owned()),
            ComponentDefinedType::FixedLengthList { .. } => Ty::Unsupported("a list of fixed length".to_owned()),
        }
    }
}

/// Bytes of the names that a type brings itself.
fn names_in(ty: &ComponentDefinedType) -> usize {
    let sum = |names: &mut dyn Iterator<Item = usize>| names.map(|length| length + PART).sum();
    match ty {
        ComponentDefinedType::Record(record) => sum(&mut record.fields.keys().map(|name| name.len())),
        ComponentDefinedType::Variant(variant) => sum(&mut variant.cases.keys().map(|name| name.len())),
        ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => {
            sum(&mut names.iter().map(|name| name.len()))
        }
        ComponentDefinedType::Tuple(tuple) => tuple.types.len() * PART,
        _ => 0,
    }
}

fn primitive_ty(primitive: PrimitiveValType) -> Ty {
    match primitive {
        PrimitiveValType::Bool => Ty::Bool,
        PrimitiveValType::S8 => Ty::S8,
        PrimitiveValType::U8 => Ty::U8,
        PrimitiveValType::S16 => Ty::S16,
        PrimitiveValType::U16 => Ty::U16,
        PrimitiveValType::S32 => Ty::S32,
        PrimitiveValType::U32 => Ty::U32,
        PrimitiveValType::S64 => Ty::S64,
        PrimitiveValType::U64 => Ty::U64,
        PrimitiveValType::F32 => Ty::F32,
        PrimitiveValType::F64 => Ty::F64,
        PrimitiveValType::Char => Ty::Char,
        PrimitiveValType::String => Ty::String,
        PrimitiveValType::ErrorContext => Ty::Unsupported("an error context".to_owned()),
    }
}

/// An import that something must answer; types need no answer.
fn import_of(name: &str, ty: ComponentTypeRef) -> Option<Import> {
    let kind = match ty {
        ComponentTypeRef::Type(wasmparser::TypeBounds::Eq(_)) => return None,
        ComponentTypeRef::Type(wasmparser::TypeBounds::SubResource) => "resource",
        ComponentTypeRef::Module(_) => "module",
        ComponentTypeRef::Func(_) => "func",
        ComponentTypeRef::Value(_) => "value",
        ComponentTypeRef::Instance(_) => "instance",
        ComponentTypeRef::Component(_) => "component",
    };
    Some(Import { module: name.to_owned(), name: String::new(), kind: kind.to_owned(), grant: grant(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_count_every_instance_of_nested_components() {
        let text = r#"(component
            (component $twice
                (core module $m (memory 2) (table 5 funcref))
                (core instance (instantiate $m))
                (core instance (instantiate $m)))
            (instance (instantiate $twice))
            (instance (instantiate $twice))
            (component $outer (alias outer 1 0 (component $c)) (instance (instantiate $c)))
            (instance (instantiate $outer)))"#;
        let description = describe(&wat::parse_str(text).unwrap()).unwrap();
        let needs = description.needs;
        // As many again, and one, for what wasmtime puts between them.
        assert_eq!((needs.instances, needs.memories, needs.tables, needs.table_elements), (13, 6, 6, 5));
        assert_eq!(description.memory_minimum, 6 * 2 * 65_536);
    }

    #[test]
    fn types_that_double_with_every_level_are_not_spelled_out() {
        let mut text = "(component (type $t0 (tuple u8 u8))".to_owned();
        for level in 1..16 {
            text += &format!("(type $t{level} (tuple $t{0} $t{0}))", level - 1);
        }
        text += r#"(core module $m (func (export "f") (result i32) unreachable) (memory (export "m") 1))
            (core instance $i (instantiate $m))
            (func (export "f") (result $t15) (canon lift (core func $i "f") (memory $i "m")))
            (func (export "g") (result $t15) (canon lift (core func $i "f") (memory $i "m")))
            (func (export "h") (result $t15) (canon lift (core func $i "f") (memory $i "m")))
            (func (export "k") (result $t15) (canon lift (core func $i "f") (memory $i "m"))))"#;
        let description = describe(&wat::parse_str(&text).unwrap()).unwrap();
        assert!(description.functions.iter().any(|function| function.ty.results[0].unsupported().is_some()));
    }

    #[test]
    fn only_wasi_0_2_is_answered() {
        assert_eq!(grant("wasi:io/streams@0.2.0"), Grant::Always);
        assert_eq!(grant("wasi:io/streams@0.2.99"), Grant::Always);
        assert_eq!(grant("wasi:sockets/tcp@0.2.3"), Grant::Flag("--allow-net".to_owned()));
        for unknown in [
            "wasi:io/streams",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:io/streams@0.2.",
            "wasi:http/outgoing-handler@0.2.0",
            "other:io/streams@0.2.0",
        ] {
            assert_eq!(grant(unknown), Grant::Unknown, "{unknown}");
        }
        assert!(is_run("wasi:cli/run@0.2.5") && !is_run("wasi:cli/run@0.3.0") && !is_run("wasi:cli/run"));
    }
}
