//! Components: core modules whose state is understood, one core instance or
//! more of each, and no handles of the component's own. A module is added that
//! imports all state; its functions are exported by the component.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, CodeSection, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentTypeSection, ComponentValType, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, InstanceSection, MemArg, MemoryType, ModuleArg,
    ModuleSection, PrimitiveValType, TypeSection, ValType,
};
use wasmparser::{CanonicalFunction, Instance, Parser, Payload, Validator};

use super::module::{self, Exported};
use super::{BASE, FUNCTIONS, GLOBAL, MEMORY, RESTORE, SAVE, SIZE};
use crate::describe::Reset;
use crate::limits::Features;
use crate::runtime::engine::accepted;

/// Most globals of all core instances together.
const MAX_GLOBALS: usize = 512;
/// Most memories of all core instances together.
const MAX_MEMORIES: usize = 16;
/// Bytes of a binary before its first section.
const HEADER: usize = 8;
/// Number of the section that holds a core module.
const CORE_MODULE: u8 = 1;

/// A valid component with functions that reach its state.
pub fn exported(binary: &[u8], features: Features) -> Option<(Reset, Vec<u8>)> {
    let mut parts = Parts { out: binary.get(..HEADER)?.to_vec(), ..Parts::default() };
    let (mut in_module, mut nested) = (false, 0_usize);
    let mut end = HEADER;
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload.ok()?;
        match &payload {
            _ if in_module => {
                in_module = !matches!(payload, Payload::End(_));
                continue;
            }
            // Modules and their instances are at the top, or not known.
            Payload::ModuleSection { .. } | Payload::InstanceSection(_) if nested > 0 => return None,
            Payload::ModuleSection { unchecked_range, .. } => {
                parts.module(binary.get(unchecked_range.clone())?, unchecked_range.start)?;
                in_module = true;
                end = unchecked_range.end;
                continue;
            }
            Payload::ComponentSection { unchecked_range, .. } => {
                if nested == 0 {
                    parts.out.extend_from_slice(binary.get(end..unchecked_range.end)?);
                    end = unchecked_range.end;
                }
                nested += 1;
                continue;
            }
            Payload::End(_) if nested > 0 => {
                nested -= 1;
                continue;
            }
            _ if nested > 0 => continue,
            _ => {}
        }
        if let Some((_, range)) = payload.as_section() {
            parts.out.extend_from_slice(binary.get(end..range.end)?);
            end = range.end;
        }
        parts.read(payload)?;
    }
    let types = Validator::new_with_features(accepted(features, true)).validate_all(binary).ok()?;
    parts.finish(&types.as_ref())
}

/// What a component consists of.
#[derive(Default)]
struct Parts {
    /// The component so far, with its core modules' state exported.
    out: Vec<u8>,
    modules: Vec<Exported>,
    /// Core instances, by index, and the modules that they are of.
    instances: Vec<(u32, u32)>,
    /// Core instances of any kind.
    count: u32,
    moved: Vec<(u64, u64)>,
}

impl Parts {
    /// Takes a core module that began at `start` of the given component.
    fn module(&mut self, binary: &[u8], start: usize) -> Option<()> {
        let exported = module::exported(binary, true)?;
        let mut section = wasm_encoder::Component::new();
        section.section(&wasm_encoder::RawSection { id: CORE_MODULE, data: &exported.binary });
        self.out.extend_from_slice(section.finish().get(HEADER..)?);
        let now = (self.out.len() - exported.binary.len()) as u64;
        let before = now.checked_sub(start as u64)?;
        self.moved.push((now, before));
        self.moved.push((now + exported.at, before + exported.moved));
        self.modules.push(Exported { binary: Vec::new(), ..exported });
        Some(())
    }

    /// Takes note of a section; `None` where the state that it makes is not
    /// understood.
    fn read(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::InstanceSection(section) => section.into_iter().try_for_each(|instance| {
                if let Instance::Instantiate { module_index, .. } = instance.ok()? {
                    self.instances.push((self.count, module_index));
                }
                self.count += 1;
                Some(())
            }),
            Payload::ComponentCanonicalSection(section) => section.into_iter().try_for_each(|function| {
                use CanonicalFunction::{Lift, Lower, ResourceDrop};
                matches!(function.ok()?, Lift { .. } | Lower { .. } | ResourceDrop { .. }).then_some(())
            }),
            // Objects that the pool keeps are reached by handles.
            Payload::ComponentImportSection(section) => section.into_iter().try_for_each(|import| {
                let name = import.ok()?.name.name;
                (!name.starts_with("wpool:") && !name.starts_with("wasi:keyvalue/")).then_some(())
            }),
            Payload::ComponentExportSection(section) => section
                .into_iter()
                .try_for_each(|export| (!export.ok()?.name.name.starts_with(FUNCTIONS)).then_some(())),
            Payload::ComponentStartSection { .. } => None,
            _ => Some(()),
        }
    }

    /// Adds the module that reaches all state, and what the component exports
    /// of it.
    fn finish(mut self, types: &wasmparser::types::TypesRef<'_>) -> Option<(Reset, Vec<u8>)> {
        if types.module_count() as usize != self.modules.len() {
            // One that is imported, or of an outer component.
            return None;
        }
        let mut keeper = Keeper::default();
        for (instance, module) in &self.instances {
            keeper.instance(*instance, self.modules.get(*module as usize)?);
        }
        if keeper.globals.len() > MAX_GLOBALS || keeper.memories.len() > MAX_MEMORIES {
            return None;
        }
        let sections = keeper.sections(types);
        self.out.extend_from_slice(sections.get(HEADER..)?);
        Some((Reset { memories: keeper.memories, globals: 0, moved: self.moved }, self.out))
    }
}

/// The module that reaches all state: it imports each memory and each global.
#[derive(Default)]
struct Keeper {
    imports: ImportSection,
    /// Core instances that it imports from.
    instances: Vec<u32>,
    globals: Vec<ValType>,
    /// What is known to be initialised in each memory.
    memories: Vec<(u64, u64)>,
    /// The core instance that has it.
    owners: Vec<u32>,
}

impl Keeper {
    fn instance(&mut self, instance: u32, module: &Exported) {
        let from = instance.to_string();
        if module.memory {
            let any = MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None };
            self.imports.import(&from, MEMORY, EntityType::Memory(any));
            self.memories.push(module.image);
            self.owners.push(instance);
        }
        for (position, ty) in module.globals.iter().enumerate() {
            let ty = GlobalType { val_type: *ty, mutable: true, shared: false };
            self.imports.import(&from, &format!("{GLOBAL}{position}"), EntityType::Global(ty));
            self.globals.push(ty.val_type);
        }
        self.instances.push(instance);
    }

    /// Numbers of the functions: two for the globals, three for each memory.
    fn functions(&self) -> u32 {
        2 + 3 * self.owners.len() as u32
    }

    fn module(&self) -> wasm_encoder::Module {
        let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
        let (mut globals, mut exports, mut code) = (GlobalSection::new(), ExportSection::new(), CodeSection::new());
        types.ty().function([], []);
        types.ty().function([], [ValType::I32]);
        types.ty().function([ValType::I32], []);
        let imported = self.globals.len() as u32;
        for ty in &self.globals {
            globals.global(GlobalType { val_type: *ty, mutable: true, shared: false }, &zero(*ty));
        }
        for restores in [false, true] {
            let mut function = Function::new([]);
            for global in 0..imported {
                let (from, to) = if restores { (imported + global, global) } else { (global, imported + global) };
                function.instructions().global_get(from).global_set(to);
            }
            function.instructions().end();
            functions.function(0);
            code.function(&function);
        }
        for memory in 0..self.owners.len() as u32 {
            let kept = 2 * imported + memory;
            globals.global(
                GlobalType { val_type: ValType::I64, mutable: true, shared: false },
                &wasm_encoder::ConstExpr::i64_const(0),
            );
            // The list of the first bytes is told of in these bytes themselves,
            // which are as they were when that is over.
            let at = |offset, align| MemArg { offset, align, memory_index: memory };
            let mut base = Function::new([]);
            base.instructions().i32_const(0).i64_load(at(0, 3)).global_set(kept);
            base.instructions().i32_const(0).i64_const(i64::from(FIRST) << 32).i64_store(at(0, 3));
            base.instructions().i32_const(0).end();
            let mut over = Function::new([]);
            over.instructions().i32_const(0).global_get(kept).i64_store(at(0, 3)).end();
            let mut size = Function::new([]);
            size.instructions().memory_size(memory).end();
            for (ty, function) in [(1, base), (2, over), (1, size)] {
                functions.function(ty);
                code.function(&function);
            }
        }
        for function in 0..self.functions() {
            exports.export(&function.to_string(), ExportKind::Func, function);
        }
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&self.imports).section(&functions);
        module.section(&globals).section(&exports).section(&code);
        module
    }

    /// A component of what is to be added to one of such `types`.
    fn sections(&self, types: &wasmparser::types::TypesRef<'_>) -> Vec<u8> {
        let mut instances = InstanceSection::new();
        let names: Vec<String> = self.instances.iter().map(u32::to_string).collect();
        let arguments = names.iter().map(String::as_str).zip(self.instances.iter().map(|at| ModuleArg::Instance(*at)));
        instances.instantiate(types.module_count(), arguments.collect::<Vec<_>>());

        let mut aliases = ComponentAliasSection::new();
        for function in 0..self.functions() {
            let (instance, name) = (types.core_instance_count(), function.to_string());
            aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name: &name });
        }
        for instance in &self.owners {
            let alias = Alias::CoreInstanceExport { instance: *instance, kind: ExportKind::Memory, name: MEMORY };
            aliases.alias(alias);
        }

        let mut added = ComponentTypeSection::new();
        let first = types.component_type_count();
        added.function().params::<[(&str, ComponentValType); 0], _>([]).result(None);
        added.defined_type().list(ComponentValType::Primitive(PrimitiveValType::U8));
        added.function().params::<[(&str, ComponentValType); 0], _>([]).result(Some(ComponentValType::Type(first + 1)));
        let number = ComponentValType::Primitive(PrimitiveValType::U32);
        added.function().params::<[(&str, ComponentValType); 0], _>([]).result(Some(number));

        let mut lifted = CanonicalFunctionSection::new();
        let function = |number: u32| types.function_count() + number;
        let mut names = vec![SAVE.to_owned(), RESTORE.to_owned()];
        lifted.lift(function(0), first, []);
        lifted.lift(function(1), first, []);
        for memory in 0..self.owners.len() as u32 {
            let base = 2 + 3 * memory;
            let options = [
                CanonicalOption::Memory(types.memory_count() + memory),
                CanonicalOption::PostReturn(function(base + 1)),
            ];
            lifted.lift(function(base), first + 2, options);
            lifted.lift(function(base + 2), first + 3, []);
            names.extend([format!("{BASE}{memory}"), format!("{SIZE}{memory}")]);
        }
        let mut exports = ComponentExportSection::new();
        for (name, index) in names.iter().zip(types.component_function_count()..) {
            exports.export(name.as_str(), ComponentExportKind::Func, index, None);
        }

        let mut component = wasm_encoder::Component::new();
        component.section(&ModuleSection(&self.module())).section(&instances).section(&aliases);
        component.section(&added).section(&lifted).section(&exports);
        component.finish()
    }
}

/// Bytes at the start of a memory that are shown.
const FIRST: u32 = 8;

fn zero(ty: ValType) -> wasm_encoder::ConstExpr {
    match ty {
        ValType::I64 => wasm_encoder::ConstExpr::i64_const(0),
        ValType::F32 => wasm_encoder::ConstExpr::f32_const(0.0_f32.into()),
        ValType::F64 => wasm_encoder::ConstExpr::f64_const(0.0_f64.into()),
        _ => wasm_encoder::ConstExpr::i32_const(0),
    }
}
