//! Which core modules a worker can put back into the state they began in
//! instead of making them anew, and what it has to know for that. Looked at
//! before the module is compiled; [`super::reset`] does it.

use std::ops::Range;

use wasm_encoder::{ExportKind, ExportSection};
use wasmparser::{
    ConstExpr, DataKind, ExternalKind, FunctionBody, MemoryType, Operator, Parser, Payload, TypeRef, ValType,
};

use crate::describe::Reset;
use crate::limits::Features;
use crate::runtime::reset::{GLOBAL, MEMORY, PREFIX};

/// Most globals that are put back for each task.
const MAX_GLOBALS: usize = 64;
/// Largest span of initial data that a worker holds a copy of, in bytes.
const MAX_IMAGE: u64 = 8 << 20;
/// Bytes of a binary before its first section.
const HEADER: usize = 8;

/// A valid module with its state exported, if all of that is one memory whose
/// content is known before it runs, and globals that are numbers. Tables that
/// code writes to, segments that it drops, a start function, memory that is
/// laid out by what is imported: such modules are always made anew.
#[must_use]
pub fn resettable(binary: &[u8], features: Features) -> Option<(Reset, Vec<u8>)> {
    if features.gc || features.exceptions {
        // A heap that nobody but the engine knows.
        return None;
    }
    let mut state = State::default();
    let mut end = HEADER;
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload.ok()?;
        let section = payload.as_section().map(|(_, range)| range);
        if let (Payload::ExportSection(_), Some(range)) = (&payload, &section) {
            state.exports = Some(end..range.end);
        }
        end = section.map_or(end, |range| range.end);
        state.read(payload)?;
    }
    state.finish(binary)
}

/// What is known of a module's state.
#[derive(Default)]
struct State {
    memory: bool,
    /// Globals that can be written to, by index.
    globals: Vec<u32>,
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
                let functions = |ty| matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                section.into_imports().all(|import| import.is_ok_and(|import| functions(import.ty))).then_some(())
            }
            Payload::MemorySection(section) => section.into_iter().try_for_each(|memory| self.memory(memory.ok()?)),
            Payload::GlobalSection(section) => {
                (0..).zip(section).try_for_each(|(index, global)| self.global(index, global.ok()?.ty))
            }
            Payload::ExportSection(section) => section.into_iter().try_for_each(|export| {
                let export = export.ok()?;
                let kind = kind(export.kind)?;
                self.entries.push((export.name.to_owned(), kind, export.index));
                (!export.name.starts_with(PREFIX)).then_some(())
            }),
            Payload::DataSection(section) => section.into_iter().try_for_each(|data| self.data(&data.ok()?)),
            Payload::CodeSectionEntry(body) => code(&body),
            Payload::StartSection { .. } | Payload::TagSection(_) => None,
            _ => Some(()),
        }
    }

    fn memory(&mut self, memory: MemoryType) -> Option<()> {
        let plain = !memory.shared && !memory.memory64 && memory.page_size_log2.is_none();
        (plain && !std::mem::replace(&mut self.memory, true)).then_some(())
    }

    fn global(&mut self, index: u32, ty: wasmparser::GlobalType) -> Option<()> {
        if ty.mutable {
            self.globals.push(index);
        }
        let number = matches!(ty.content_type, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
        ((number || !ty.mutable) && self.globals.len() <= MAX_GLOBALS).then_some(())
    }

    fn data(&mut self, data: &wasmparser::Data<'_>) -> Option<()> {
        let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else {
            return matches!(data.kind, DataKind::Passive).then_some(());
        };
        let start = u64::from(constant(offset_expr)?);
        let end = start + data.data.len() as u64;
        let image = self.image.get_or_insert(start..end);
        *image = image.start.min(start)..image.end.max(end);
        (image.end - image.start <= MAX_IMAGE).then_some(())
    }

    /// The module with its state exported under names of ours.
    fn finish(self, binary: &[u8]) -> Option<(Reset, Vec<u8>)> {
        let mut exports = ExportSection::new();
        for (name, kind, index) in &self.entries {
            exports.export(name, *kind, *index);
        }
        if self.memory {
            exports.export(MEMORY, ExportKind::Memory, 0);
        }
        for (position, index) in self.globals.iter().enumerate() {
            exports.export(&format!("{GLOBAL}{position}"), ExportKind::Global, *index);
        }
        let mut module = wasm_encoder::Module::new();
        module.section(&exports);
        let section = module.finish().split_off(HEADER);
        let before = self.exports?;
        let moved = section.len().checked_sub(before.len())? as u64;
        let shown = [binary.get(..before.start)?, &section, binary.get(before.end..)?].concat();
        let image = self.image.unwrap_or_default();
        let globals = u32::try_from(self.globals.len()).ok()?;
        Some((Reset { memory: self.memory, image: (image.start, image.end), globals, moved }, shown))
    }
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
