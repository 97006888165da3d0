//! What a compiled module offers and needs, as the compile worker reports it:
//! exports with their types, imports with the flag that grants each.
//!
//! Plain data. The host treats every name in it as guest text.

use serde::{Deserialize, Serialize};

use crate::value::ty::FuncTy;

/// The report on one module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Whether the artifact is a component or a core module.
    pub shape: Shape,
    /// The file was a core module that was made a component at load.
    pub componentized: bool,
    /// A component around a module of WASI preview 1, with an adapter between.
    #[serde(default)]
    pub adapted: bool,
    /// All exported functions, in the module's order; those marked `hidden`
    /// are only found by their name.
    pub functions: Vec<Function>,
    /// The module is a command: it exports `_start` or `wasi:cli/run`.
    pub command: bool,
    /// Imports, in the module's order.
    pub imports: Vec<Import>,
    /// The export that allocates guest memory for byte payloads.
    pub allocator: Option<Allocator>,
    /// The export that frees them, `dealloc` or `free`.
    pub deallocator: Option<String>,
    /// A core module exports its memory as `memory`.
    pub exports_memory: bool,
    /// A core module exports `_initialize`.
    pub initialize: bool,
    /// Sum of the minimum sizes of the memories, in bytes.
    pub memory_minimum: u64,
    /// What one instance takes from the pooling allocator.
    pub needs: Needs,
    /// How an instance is put back into the state it began in, where that can
    /// be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
}

/// Memory of an instance that is put back for one task, in bytes; more than that
/// is made anew, by the engine, which gives most of it back to the system.
pub const MAX_WRITTEN: u64 = 4 << 20;

/// All that the state of an instance consists of, which the artifact gives
/// access to under names of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Start and end of what is known to be initialised in each memory, in
    /// bytes.
    pub memories: Vec<(u64, u64)>,
    /// Globals of a core module that can be written to.
    pub globals: u32,
    /// Core instances that were added to a component to reach its globals.
    pub keepers: u32,
    /// From where on the artifact's binary is how much farther back than the
    /// module's own, in bytes.
    pub moved: Vec<(u64, u64)>,
}

impl Reset {
    /// Bytes of the copies that a worker keeps of how the memories begin, at
    /// the most.
    #[must_use]
    pub fn copies(&self) -> u64 {
        // What is written while an instance is made comes on top.
        let copy = |(start, end): &(u64, u64)| end.saturating_sub(*start).saturating_add(MAX_WRITTEN);
        self.memories.iter().map(copy).fold(0, u64::saturating_add)
    }
}

/// Core module or component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A core module.
    #[default]
    Core,
    /// A component.
    Component,
}

/// A callable export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The interface that exports it, such as `demo:text/stats@1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its name in the interface or at the top level.
    pub name: String,
    /// Parameters and results.
    pub ty: FuncTy,
    /// No candidate where no function is named: `_start`, `_initialize`,
    /// allocators, and what else only tools call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

impl Function {
    /// The name that finds this function again: `iface/func` or `func`.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// An import and what answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Module or interface.
    pub module: String,
    /// Name in it; empty for a whole interface.
    pub name: String,
    /// `func`, `memory`, `table`, `global`, `tag` or `instance`.
    pub kind: String,
    /// What answers it.
    pub grant: Grant,
}

/// What answers an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Always there.
    Always,
    /// There, and denies unless this flag is given.
    Flag(String),
    /// Nothing: the module is refused unless `--stub-imports`.
    Unknown,
}

/// How byte payloads get their guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocator {
    /// The export's name.
    pub name: String,
    /// It takes `(0, 0, 1, len)` as `cabi_realloc` does, not `(len)`.
    pub realloc: bool,
}

/// Counts that size the pooling allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Core instances of one instance of the module.
    pub instances: u32,
    /// Linear memories.
    pub memories: u32,
    /// Tables.
    pub tables: u32,
    /// Elements of the largest table at its start.
    #[serde(default)]
    pub table_elements: u64,
}
