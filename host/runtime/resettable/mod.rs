//! Which modules' instances a worker can put back into the state they began in
//! instead of making them anew, and how it reaches that state. Looked at before
//! a module is compiled; [`super::reset`] and the component's own do it.

mod component;
mod keeper;
mod module;

use crate::describe::{Reset, Shape};
use crate::limits::Features;

/// What the names of exports begin with that are added to a core module.
pub const PREFIX: &str = "wpool:state:";
/// The memory.
pub const MEMORY: &str = "wpool:state:memory";
/// Globals, followed by their number.
pub const GLOBAL: &str = "wpool:state:global:";

/// What the names of functions begin with that are added to a component.
pub const FUNCTIONS: &str = "wpool-state-";
/// Remembers globals, followed by the number of their keeper.
pub const SAVE: &str = "wpool-state-save";
/// Sets globals to what was remembered, followed by the same.
pub const RESTORE: &str = "wpool-state-restore";
/// The first bytes of a memory, followed by its number.
pub const BASE: &str = "wpool-state-base";
/// Pages of a memory, followed by its number.
pub const SIZE: &str = "wpool-state-size";

/// A valid binary whose state can be reached, if all of it is understood.
#[must_use]
pub fn resettable(binary: &[u8], shape: Shape, features: Features) -> Option<(Reset, Vec<u8>)> {
    if features.gc || features.exceptions {
        // A heap that nobody but the engine knows.
        return None;
    }
    match shape {
        Shape::Core => {
            let module::Exported { binary, memory, globals, image, at, moved } = module::exported(binary, false)?;
            let memories = memory.then_some(image).into_iter().collect();
            let globals = u32::try_from(globals.len()).ok()?;
            Some((Reset { memories, globals, keepers: 0, moved: vec![(at, moved)] }, binary))
        }
        Shape::Component => component::exported(binary, features),
    }
}
