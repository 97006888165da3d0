//! Makes components of core modules that were built for one: those with
//! `component-type` custom sections, as wit-bindgen leaves in modules for
//! `wasm32-wasip1`. Runs in the compile worker only.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::wire::message::Refusal;

/// Name that the custom sections begin with.
const SECTION: &str = "component-type";

/// Whether `module` is a core module that describes a component's world.
#[must_use]
pub fn is_core_form(module: &[u8]) -> bool {
    Parser::is_core_wasm(module)
        && Parser::new(0)
            .parse_all(module)
            .map_while(Result::ok)
            .any(|payload| matches!(payload, Payload::CustomSection(section) if section.name().starts_with(SECTION)))
}

/// The component that a module of [`is_core_form`] was built for.
///
/// # Errors
/// A module whose imports and exports are not what its sections say.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, Refusal> {
    let adapter = if exports(module, "_start") {
        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let encoder = ComponentEncoder::default()
        .validate(false) // The engine validates it anyway, with fewer features.
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter));
    encoder
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Refusal::module(format!("cannot make a component of the module: {error:#}")))
}

fn exports(module: &[u8], wanted: &str) -> bool {
    Parser::new(0)
        .parse_all(module)
        .filter_map(|payload| match payload {
            Ok(Payload::ExportSection(section)) => Some(section),
            _ => None,
        })
        .flatten()
        .any(|export| export.is_ok_and(|export| export.name == wanted))
}
