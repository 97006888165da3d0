//! JSON text ↔ values, as the types say. Records are objects, variants
//! `{"tag","val"}`, enums and chars strings, flags arrays of strings, tuples
//! arrays, results `{"ok"}` or `{"err"}`, `list<u8>` an array or
//! `{"base64":…}`, special floats `"nan"`, `"inf"`, `"-inf"`.

mod check;
mod pack;
mod read;
mod write;

pub(super) use check::skip;
pub use check::{compact, item_text, validate};
pub use pack::{pack, pack_each};
pub use read::read;
pub(super) use read::{Reader, character, enumeration, value};
pub use write::{WriteError, write, write_f32, write_f64, write_packed, write_string, write_within};

#[cfg(test)]
mod pack_tests;
#[cfg(test)]
pub(crate) mod tests;
