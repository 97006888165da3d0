//! Components: core modules whose state is understood, one core instance or
//! more of each, at the top or in components of its own, and no handles of the
//! component's own. To each component with core instances a module is added that
//! imports all their state ([`super::keeper`]); its functions are exported, by
//! the outer components, too.

use wasm_encoder::{Alias, ComponentAliasSection, ComponentExportKind, ComponentExportSection, RawSection};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentTypeRef, Instance, Parser,
    Payload, ValidPayload, Validator,
};

use super::keeper::Keeper;
use super::module::{self, Exported, MAX_IMAGE};
use super::{BASE, FUNCTIONS, RESTORE, SAVE, SIZE};
use crate::describe::Reset;
use crate::limits::Features;
use crate::runtime::engine::accepted;

/// Most globals of all core instances together.
const MAX_GLOBALS: usize = 1024;
/// Most memories of all core instances together, and most keepers.
const MAX_MEMORIES: usize = 12;
/// Components in one another.
const MAX_DEPTH: u32 = 8;
/// Bytes of a binary before its first section.
const HEADER: usize = 8;
/// Numbers of the sections that hold a core module and a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// A valid component with functions that reach its state.
pub fn exported(binary: &[u8], features: Features) -> Option<(Reset, Vec<u8>)> {
    let validator = Validator::new_with_features(accepted(features, true));
    let mut walk = Walk { payloads: Parser::new(0).parse_all(binary), validator, binary };
    let whole = walk.component(0, 0)?;
    let moved = whole.moved.iter().map(|(now, given)| Some((*now, now.checked_sub(*given)?)));
    let moved = moved.collect::<Option<_>>()?;
    let reset = Reset { memories: whole.state.memories, globals: 0, keepers: whole.state.keepers, moved };
    Some((reset, whole.out))
}

/// A way through a binary, with all components in it.
struct Walk<'b, P> {
    payloads: P,
    validator: Validator,
    binary: &'b [u8],
}

impl<'b, P: Iterator<Item = wasmparser::Result<Payload<'b>>>> Walk<'b, P> {
    fn next(&mut self) -> Option<(Payload<'b>, Option<Types>)> {
        let payload = self.payloads.next()?.ok()?;
        let types = match self.validator.payload(&payload).ok()? {
            ValidPayload::End(types) => Some(types),
            _ => None,
        };
        Some((payload, types))
    }

    /// The component that begins at `start`.
    fn component(&mut self, start: usize, depth: u32) -> Option<Parts> {
        let mut end = start + HEADER;
        let mut parts = Parts { out: self.binary.get(start..end)?.to_vec(), ..Parts::default() };
        loop {
            let (payload, types) = self.next()?;
            let section = payload.as_section().map(|(_, range)| range);
            match payload {
                Payload::End(_) => return parts.finish(types?.as_ref()),
                Payload::ModuleSection { unchecked_range, .. } => {
                    parts.module(self.binary.get(unchecked_range.clone())?, unchecked_range.start)?;
                    while !matches!(self.next()?, (Payload::End(_), _)) {}
                    end = unchecked_range.end;
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    let inner = (depth < MAX_DEPTH).then(|| self.component(unchecked_range.start, depth + 1))??;
                    parts.component(inner);
                    end = unchecked_range.end;
                }
                payload => {
                    if let Some(range) = section {
                        parts.out.extend_from_slice(self.binary.get(end..range.end)?);
                        end = range.end;
                    }
                    parts.read(payload)?;
                }
            }
        }
    }
}

/// What a component exports of its state.
#[derive(Clone, Default)]
struct State {
    /// Modules that save and restore globals.
    keepers: u32,
    globals: usize,
    /// What is known to be initialised in each memory.
    memories: Vec<(u64, u64)>,
}

impl State {
    fn add(&mut self, other: &Self) -> Option<()> {
        self.keepers += other.keepers;
        self.globals += other.globals;
        self.memories.extend_from_slice(&other.memories);
        let image: u64 = self.memories.iter().map(|(start, end)| end - start).sum();
        let few = self.memories.len() <= MAX_MEMORIES && self.keepers as usize <= MAX_MEMORIES;
        (few && self.globals <= MAX_GLOBALS && image <= MAX_IMAGE).then_some(())
    }

    /// Names of the functions of such state, behind that which is `before` it.
    fn names(&self, before: &Self) -> Vec<String> {
        let keepers = (before.keepers..).take(self.keepers as usize);
        let memories = (before.memories.len()..).take(self.memories.len());
        let keepers = keepers.flat_map(|keeper| [format!("{SAVE}{keeper}"), format!("{RESTORE}{keeper}")]);
        keepers.chain(memories.flat_map(|memory| [format!("{BASE}{memory}"), format!("{SIZE}{memory}")])).collect()
    }
}

/// What a component consists of.
#[derive(Default)]
struct Parts {
    /// The component so far, with its core modules' state exported.
    out: Vec<u8>,
    modules: Vec<Exported>,
    /// What the components in it export.
    components: Vec<State>,
    /// Core instances, by index, and the modules that they are of.
    core_instances: Vec<(u32, u32)>,
    /// Core instances of any kind.
    core_count: u32,
    /// Instances, by index, and the components that they are of.
    instances: Vec<(u32, u32)>,
    /// Instances of any kind.
    count: u32,
    /// Where a stretch begins, here and in the component that was given.
    moved: Vec<(u64, u64)>,
    /// What it exports.
    state: State,
}

impl Parts {
    /// Takes a core module that began at `start` of the given component.
    fn module(&mut self, binary: &[u8], start: usize) -> Option<()> {
        let exported = module::exported(binary, true)?;
        let now = self.section(CORE_MODULE, &exported.binary);
        let start = start as u64;
        self.moved.push((now, start));
        self.moved.push((now + exported.at, start + exported.at.checked_sub(exported.moved)?));
        self.modules.push(Exported { binary: Vec::new(), ..exported });
        Some(())
    }

    /// Takes a component that is in this one.
    fn component(&mut self, inner: Self) {
        let now = self.section(COMPONENT, &inner.out);
        self.moved.extend(inner.moved.iter().map(|(at, given)| (now + at, *given)));
        self.components.push(inner.state);
    }

    /// Adds a section, and says where its content begins.
    fn section(&mut self, id: u8, content: &[u8]) -> u64 {
        let mut component = wasm_encoder::Component::new();
        component.section(&RawSection { id, data: content });
        self.out.extend_from_slice(&component.finish()[HEADER..]);
        (self.out.len() - content.len()) as u64
    }

    /// Takes note of a section; `None` where the state that it makes is not
    /// understood.
    fn read(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::InstanceSection(section) => section.into_iter().try_for_each(|instance| {
                if let Instance::Instantiate { module_index, .. } = instance.ok()? {
                    self.core_instances.push((self.core_count, module_index));
                }
                self.core_count += 1;
                Some(())
            }),
            Payload::ComponentInstanceSection(section) => section.into_iter().try_for_each(|instance| {
                if let ComponentInstance::Instantiate { component_index, .. } = instance.ok()? {
                    self.instances.push((self.count, component_index));
                }
                self.count += 1;
                Some(())
            }),
            Payload::ComponentAliasSection(section) => section.into_iter().try_for_each(|alias| {
                if let ComponentAlias::InstanceExport { kind: ComponentExternalKind::Instance, .. } = alias.ok()? {
                    self.count += 1;
                }
                Some(())
            }),
            Payload::ComponentCanonicalSection(section) => section.into_iter().try_for_each(|function| {
                use CanonicalFunction::{Lift, Lower, ResourceDrop};
                matches!(function.ok()?, Lift { .. } | Lower { .. } | ResourceDrop { .. }).then_some(())
            }),
            Payload::ComponentImportSection(section) => section.into_iter().try_for_each(|import| {
                let import = import.ok()?;
                self.count += u32::from(matches!(import.ty, ComponentTypeRef::Instance(_)));
                // Objects that the pool keeps are reached by handles.
                let name = import.name.name;
                (!name.starts_with("wpool:") && !name.starts_with("wasi:keyvalue/")).then_some(())
            }),
            Payload::ComponentExportSection(section) => section.into_iter().try_for_each(|export| {
                let export = export.ok()?;
                self.count += u32::from(export.kind == ComponentExternalKind::Instance);
                (!export.name.name.starts_with(FUNCTIONS)).then_some(())
            }),
            Payload::ComponentStartSection { .. } => None,
            _ => Some(()),
        }
    }

    /// Adds the module that reaches the state of its core instances, and what
    /// it exports of that and of the components in it.
    fn finish(mut self, types: TypesRef<'_>) -> Option<Self> {
        // Others are imported, or of an outer component.
        let known = types.module_count() as usize == self.modules.len()
            && types.component_count() as usize == self.components.len();
        let mut keeper = Keeper::default();
        for (instance, module) in &self.core_instances {
            keeper.instance(*instance, self.modules.get(*module as usize).filter(|_| known)?);
        }
        let (mut aliases, mut names) = (ComponentAliasSection::new(), Vec::new());
        for (instance, component) in &self.instances {
            let inner = self.components.get(*component as usize).filter(|_| known)?;
            for name in inner.names(&State::default()) {
                let kind = ComponentExportKind::Func;
                aliases.alias(Alias::InstanceExport { instance: *instance, kind, name: &name });
            }
            names.extend(inner.names(&self.state));
            self.state.add(inner)?;
        }
        self.append(wasm_encoder::Component::new().section(&aliases));
        if !keeper.is_empty() {
            let memories = keeper.memories.clone();
            let own = State { keepers: 1, globals: keeper.globals(), memories };
            names.extend(own.names(&self.state));
            self.state.add(&own)?;
            self.append(&keeper.sections(&types));
        }
        let mut exports = ComponentExportSection::new();
        for (name, index) in names.iter().zip(types.component_function_count()..) {
            exports.export(name.as_str(), ComponentExportKind::Func, index, None);
        }
        self.append(wasm_encoder::Component::new().section(&exports));
        Some(self)
    }

    /// Adds the sections of another component.
    fn append(&mut self, component: &wasm_encoder::Component) {
        self.out.extend_from_slice(&component.as_slice()[HEADER..]);
    }
}
