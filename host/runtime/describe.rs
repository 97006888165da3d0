//! What a core module offers and needs, read from its binary without loading
//! it. Components are described in `abi::component`.

use wasmparser::{ExternalKind, FuncType, Parser, Payload, RefType, TypeRef, ValType};

use crate::describe::{Description, Function, Grant, Import, Needs, Shape};
use crate::runtime::abi::bytes;
use crate::runtime::preview1;
use crate::runtime::state::TABLE_ELEMENT;
use crate::value::ty::{Field, FuncTy, Ty};
use crate::wire::message::Refusal;

/// Bytes of a page of linear memory.
const PAGE: u64 = 64 << 10;

/// Everything of a core module that descriptions are made of.
#[derive(Default)]
struct Facts {
    /// Types by index; `None` for those that are no functions.
    types: Vec<Option<FuncType>>,
    /// Types of functions by index, imported ones first.
    functions: Vec<u32>,
    /// Exported functions.
    exports: Vec<(String, u32)>,
    exports_memory: bool,
    imports: Vec<Import>,
    memory_minimum: u64,
    needs: Needs,
}

/// Describes a valid core module.
///
/// # Errors
/// A binary that does not parse.
pub fn core(binary: &[u8]) -> Result<Description, Refusal> {
    let mut facts = Facts::default();
    for payload in Parser::new(0).parse_all(binary) {
        let read = payload.and_then(|payload| facts.read(payload));
        read.map_err(|error| Refusal::module(format!("the module is invalid: {error}")))?;
    }
    facts.needs.instances = 1;
    let has = |name: &str, wanted: &str| facts.signature(name).is_some_and(|found| found == wanted);
    Ok(Description {
        shape: Shape::Core,
        componentized: false,
        adapted: false,
        command: has("_start", "()->"),
        allocator: bytes::allocator(has),
        deallocator: bytes::deallocator(has).map(str::to_owned),
        exports_memory: facts.exports_memory,
        initialize: has("_initialize", "()->"),
        functions: facts.exports.iter().map(|(name, index)| facts.function(name, *index)).collect(),
        memory_minimum: facts.memory_minimum,
        needs: facts.needs,
        reset: None,
        imports: facts.imports,
    })
}

impl Facts {
    fn read(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        self.types.push(match ty.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(func) => Some(func),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(&import?);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let page = memory.page_size_log2.map_or(PAGE, |log2| 1_u64.checked_shl(log2).unwrap_or(PAGE));
                    self.needs.memories += 1;
                    self.add_minimum(memory.initial.saturating_mul(page));
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let elements = table?.ty.initial;
                    self.needs.tables += 1;
                    self.needs.table_elements = self.needs.table_elements.max(elements);
                    self.add_minimum(elements.saturating_mul(TABLE_ELEMENT));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => {
                            self.exports.push((export.name.to_owned(), export.index));
                        }
                        ExternalKind::Memory if export.name == "memory" => self.exports_memory = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_minimum(&mut self, bytes: u64) {
        self.memory_minimum = self.memory_minimum.saturating_add(bytes);
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) {
        let kind = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.functions.push(ty);
                "func"
            }
            TypeRef::Table(_) => "table",
            TypeRef::Memory(_) => "memory",
            TypeRef::Global(_) => "global",
            TypeRef::Tag(_) => "tag",
        };
        let grant = if kind == "func" { grant(import.module, import.name) } else { Grant::Unknown };
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        self.imports.push(Import { module, name, kind: kind.to_owned(), grant });
    }

    fn func_type(&self, index: u32) -> Option<&FuncType> {
        let ty = *self.functions.get(index as usize)?;
        self.types.get(ty as usize)?.as_ref()
    }

    fn signature(&self, name: &str) -> Option<String> {
        let (_, index) = self.exports.iter().find(|(export, _)| export == name)?;
        let ty = self.func_type(*index)?;
        let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Some(format!("({})->{}", list(ty.params()), list(ty.results())))
    }

    fn function(&self, name: &str, index: u32) -> Function {
        let ty = self.func_type(index).map_or_else(FuncTy::default, |ty| FuncTy {
            params: ty.params().iter().enumerate().map(|(at, ty)| field(at, *ty)).collect(),
            results: ty.results().iter().map(|ty| core_ty(*ty)).collect(),
        });
        Function { interface: None, name: name.to_owned(), ty, hidden: hidden(name) }
    }
}

fn field(position: usize, ty: ValType) -> Field {
    Field { name: position.to_string(), ty: core_ty(ty) }
}

fn core_ty(ty: ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::Unsupported("v128".to_owned()),
        ValType::Ref(RefType::FUNCREF) => Ty::Unsupported("funcref".to_owned()),
        ValType::Ref(RefType::EXTERNREF) => Ty::Unsupported("externref".to_owned()),
        ValType::Ref(other) => Ty::Unsupported(other.to_string()),
    }
}

/// Whether an export is called by tools only, never chosen as the task.
#[must_use]
pub fn hidden(name: &str) -> bool {
    const NAMES: [&str; 8] = ["_start", "_initialize", "malloc", "realloc", "calloc", "free", "dealloc", "allocate"];
    const PREFIXES: [&str; 3] = ["cabi_", "alloc", "__"];
    NAMES.contains(&name) || PREFIXES.into_iter().any(|prefix| name.starts_with(prefix))
}

/// What answers a function that a core module imports.
fn grant(module: &str, name: &str) -> Grant {
    if module != preview1::MODULE || !preview1::FUNCTIONS.contains(&name) {
        return Grant::Unknown;
    }
    let files = ["path_", "fd_prestat_", "fd_readdir"];
    if files.into_iter().any(|prefix| name.starts_with(prefix)) {
        return Grant::Flag("--dir".to_owned());
    }
    if name.starts_with("environ_") {
        return Grant::Flag("--env".to_owned());
    }
    Grant::Always
}
