//! Core modules: one memory, and globals that are numbers.

use std::ops::Range;

use wasm_encoder::{ExportKind, ExportSection};
use wasmparser::{
    ConstExpr, DataKind, ExternalKind, FunctionBody, GlobalType, MemoryType, Operator, Parser, Payload, TypeRef,
    ValType,
};

use super::{GLOBAL, MEMORY, PREFIX};

/// Most globals that are put back for each task, of a module that is no part.
const MAX_GLOBALS: usize = 64;
/// Largest span of initial data that a worker holds a copy of, in bytes; of all
/// memories together.
pub const MAX_IMAGE: u64 = 16 << 20;
/// Bytes of a binary before its first section.
const HEADER: usize = 8;

/// A module with its state exported under names of ours.
pub struct Exported {
    /// The module.
    pub binary: Vec<u8>,
    /// It defines a memory.
    pub memory: bool,
    /// Types of the globals that can be written to.
    pub globals: Vec<wasm_encoder::ValType>,
    /// Start and end of what is known to be initialised in its memory.
    pub image: (u64, u64),
    /// Where begins what is farther back than it was, in bytes of the binary.
    pub at: u64,
    /// By how much.
    pub moved: u64,
}

/// A valid module with its state exported, if all of that is one memory and
/// globals that are numbers: not where code writes to tables or drops
/// segments. By itself a module has no start function either, and nothing of
/// its state comes from elsewhere. `part` of a component it may: what its state
/// is in the beginning is then looked up in an instance.
pub fn exported(binary: &[u8], part: bool) -> Option<Exported> {
    let mut state = State { part, ..State::default() };
    let mut end = HEADER;
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload.ok()?;
        let section = payload.as_section().map(|(_, range)| range);
        if let (Payload::ExportSection(_), Some(range)) = (&payload, &section) {
            state.exports = Some(end..range.end);
        }
        if follows_exports(&payload) {
            state.exports.get_or_insert(end..end);
        }
        end = section.map_or(end, |range| range.end);
        state.read(payload)?;
    }
    state.exports.get_or_insert(end..end);
    state.finish(binary)
}

/// Whether a section stands behind that of the exports.
fn follows_exports(payload: &Payload<'_>) -> bool {
    use Payload::{CodeSectionStart, DataCountSection, DataSection, ElementSection, StartSection};
    matches!(
        payload,
        StartSection { .. } | ElementSection(_) | DataCountSection { .. } | CodeSectionStart { .. } | DataSection(_)
    )
}

/// What is known of a module's state.
#[derive(Default)]
struct State {
    part: bool,
    memory: bool,
    imported_memory: bool,
    imported_globals: u32,
    /// Globals that can be written to, by index.
    globals: Vec<(u32, wasm_encoder::ValType)>,
    /// What is initialised of the memory, in bytes.
    image: Option<Range<u64>>,
    /// The section of exports with its head, in bytes of the binary.
    exports: Option<Range<usize>>,
    /// The same exports.
    entries: Vec<(String, ExportKind, u32)>,
}

impl State {
    /// Takes note of a part of the module; `None` where its state is not
    /// understood.
    fn read(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::ImportSection(section) => {
                section.into_imports().try_for_each(|import| self.import(import.ok()?.ty))
            }
            Payload::MemorySection(section) => section.into_iter().try_for_each(|memory| self.memory(memory.ok()?)),
            Payload::GlobalSection(section) => {
                let imported = self.imported_globals;
                (imported..).zip(section).try_for_each(|(index, global)| self.global(index, global.ok()?.ty))
            }
            Payload::ExportSection(section) => section.into_iter().try_for_each(|export| {
                let export = export.ok()?;
                let kind = kind(export.kind)?;
                self.entries.push((export.name.to_owned(), kind, export.index));
                (!export.name.starts_with(PREFIX)).then_some(())
            }),
            Payload::DataSection(section) => section.into_iter().try_for_each(|data| self.data(&data.ok()?)),
            Payload::CodeSectionEntry(body) => code(&body),
            Payload::StartSection { .. } => self.part.then_some(()),
            Payload::TagSection(_) => None,
            _ => Some(()),
        }
    }

    fn import(&mut self, ty: TypeRef) -> Option<()> {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => return Some(()),
            TypeRef::Memory(_) => self.imported_memory = true,
            TypeRef::Global(_) => self.imported_globals += 1,
            TypeRef::Table(_) => {}
            TypeRef::Tag(_) => return None,
        }
        // What it imports is another part's to put back.
        self.part.then_some(())
    }

    fn memory(&mut self, memory: MemoryType) -> Option<()> {
        let plain = !memory.shared && !memory.memory64 && memory.page_size_log2.is_none();
        let only = !self.imported_memory && !std::mem::replace(&mut self.memory, true);
        (plain && only).then_some(())
    }

    fn global(&mut self, index: u32, ty: GlobalType) -> Option<()> {
        if ty.mutable {
            self.globals.push((index, number(ty.content_type)?));
        }
        (self.part || self.globals.len() <= MAX_GLOBALS).then_some(())
    }

    fn data(&mut self, data: &wasmparser::Data<'_>) -> Option<()> {
        let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else {
            return matches!(data.kind, DataKind::Passive).then_some(());
        };
        let Some(start) = constant(offset_expr).filter(|_| self.memory) else { return self.part.then_some(()) };
        let start = u64::from(start);
        let end = start + data.data.len() as u64;
        let image = self.image.get_or_insert(start..end);
        *image = image.start.min(start)..image.end.max(end);
        (image.end - image.start <= MAX_IMAGE).then_some(())
    }

    /// The module with its state exported under names of ours.
    fn finish(self, binary: &[u8]) -> Option<Exported> {
        let mut exports = ExportSection::new();
        for (name, kind, index) in &self.entries {
            exports.export(name, *kind, *index);
        }
        if self.memory {
            exports.export(MEMORY, ExportKind::Memory, 0);
        }
        for (position, (index, _)) in self.globals.iter().enumerate() {
            exports.export(&format!("{GLOBAL}{position}"), ExportKind::Global, *index);
        }
        let mut module = wasm_encoder::Module::new();
        module.section(&exports);
        let section = module.finish().split_off(HEADER);
        let before = self.exports?;
        let moved = section.len().checked_sub(before.len())? as u64;
        let image = self.image.unwrap_or_default();
        Some(Exported {
            binary: [binary.get(..before.start)?, &section, binary.get(before.end..)?].concat(),
            memory: self.memory,
            globals: self.globals.iter().map(|(_, ty)| *ty).collect(),
            image: (image.start, image.end),
            at: (before.start + section.len()) as u64,
            moved,
        })
    }
}

fn number(ty: ValType) -> Option<wasm_encoder::ValType> {
    Some(match ty {
        ValType::I32 => wasm_encoder::ValType::I32,
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::V128 | ValType::Ref(_) => return None,
    })
}

fn kind(kind: ExternalKind) -> Option<ExportKind> {
    Some(match kind {
        ExternalKind::Func => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag | ExternalKind::FuncExact => return None,
    })
}

/// An offset that does not depend on the instance.
fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    let mut operators = expression.get_operators_reader();
    match (operators.read(), operators.read()) {
        (Ok(Operator::I32Const { value }), Ok(Operator::End)) => Some(value as u32),
        _ => None,
    }
}

/// Whether a function leaves tables and segments as they are.
fn code(body: &FunctionBody<'_>) -> Option<()> {
    let mut operators = body.get_operators_reader().ok()?;
    while !operators.eof() {
        match operators.read().ok()? {
            Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. } => return None,
            _ => {}
        }
    }
    Some(())
}
