//! Core modules made by wit-bindgen, turned into components.

use crate::wire::message::Refusal;

/// Makes a component of a core module that carries `component-type` sections.
///
/// # Errors
/// Always, for now.
pub fn componentize(_: &[u8]) -> Result<Vec<u8>, Refusal> {
    Err(Refusal::module("modules made with wit-bindgen cannot be run yet"))
}
