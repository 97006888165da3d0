//! The module that is added to a component: it reaches the memories and globals
//! of the component's core instances, and its functions are lifted to functions
//! of the component.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, CodeSection, ComponentAliasSection, ComponentTypeSection,
    ComponentValType, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, InstanceSection, MemArg, MemoryType, ModuleArg, ModuleSection, PrimitiveValType, TypeSection,
    ValType,
};
use wasmparser::types::TypesRef;

use super::module::Exported;
use super::{GLOBAL, MEMORY};

/// The module that reaches all state: it imports each memory and each global.
#[derive(Default)]
pub struct Keeper {
    imports: ImportSection,
    /// Core instances that it imports from.
    instances: Vec<u32>,
    globals: Vec<ValType>,
    /// What is known to be initialised in each memory.
    pub memories: Vec<(u64, u64)>,
    /// The core instance that has it.
    owners: Vec<u32>,
}

impl Keeper {
    /// Takes a core instance of such a module.
    pub fn instance(&mut self, instance: u32, module: &Exported) {
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

    /// There is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.globals.is_empty()
    }

    /// Number of the globals.
    pub fn globals(&self) -> usize {
        self.globals.len()
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

    /// A component of what is to be added to one of such `types`; its functions
    /// are for each keeper and memory in turn.
    pub fn sections(&self, types: &TypesRef<'_>) -> wasm_encoder::Component {
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
        }
        let mut component = wasm_encoder::Component::new();
        component.section(&ModuleSection(&self.module())).section(&instances).section(&aliases);
        component.section(&added).section(&lifted);
        component
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
