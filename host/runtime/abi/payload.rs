//! Items as bytes, and bytes as results: what commands and byte guests share.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::limits::Limits;
use crate::outcome::{Failure, Form, JsonText, Kind};
use crate::runtime::trap;
use crate::value::ValueError;
use crate::value::json::{compact, item_text, write_string};
use crate::wire::message::{Encode, ItemAs, ItemForm, ResultAs};

/// The bytes that an item passes to a guest without types.
///
/// # Errors
/// `bad-input` for an item that begins as a JSON string and is none.
pub fn item_bytes(item: &[u8], form: ItemForm, item_as: ItemAs) -> Result<Cow<'_, [u8]>, Failure> {
    match (form, item_as) {
        (ItemForm::Json, ItemAs::Auto) => item_text(item).map_err(bad_input),
        (ItemForm::Json, ItemAs::Json) | (ItemForm::Raw | ItemForm::Cells, _) => Ok(Cow::Borrowed(item)),
    }
}

/// An item that does not fit, as a failure.
#[must_use]
pub fn bad_input(error: ValueError) -> Failure {
    let message = error.to_string();
    Failure::new(Kind::BadInput, message).with(|detail| detail.path = Some(error.path))
}

/// A result that does not fit, as a failure.
#[must_use]
pub fn bad_output(message: impl Into<String>) -> Failure {
    Failure::new(Kind::BadOutput, message)
}

/// How results without types become values.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// What the bytes are.
    pub result: ResultAs,
    /// In which form values travel.
    pub encode: Encode,
    /// `--max-result`, in bytes.
    pub limits: Limits,
}

impl Encoder {
    /// Appends the value that `bytes` are to `out`.
    ///
    /// # Errors
    /// `bad-output` for bytes that are not what the result is said to be,
    /// `result-too-large`.
    pub fn put(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Form, Failure> {
        let before = out.len();
        let form = self.put_any(bytes, out)?;
        if (out.len() - before) as u64 > self.limits.max_result {
            out.truncate(before);
            return Err(trap::result_too_large(&self.limits));
        }
        Ok(form)
    }

    fn put_any(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Form, Failure> {
        match (&self.result, self.encode) {
            (ResultAs::Json, _) => {
                compact(bytes, out).map_err(|error| {
                    bad_output(format!("result: {}", error.message)).with(|detail| detail.path = Some(error.path))
                })?;
                Ok(Form::Json)
            }
            (ResultAs::Text, encode) => {
                let text = std::str::from_utf8(bytes).map_err(|error| {
                    let at = error.valid_up_to();
                    bad_output(format!("the result is not UTF-8 at byte {at} (--result bytes takes any bytes)"))
                })?;
                if encode == Encode::Exact {
                    out.extend_from_slice(bytes);
                    return Ok(Form::Text);
                }
                write_string(text, out);
                Ok(Form::Json)
            }
            (ResultAs::Bytes | ResultAs::File(_), Encode::Exact) => {
                out.extend_from_slice(bytes);
                Ok(Form::Bytes)
            }
            (ResultAs::Bytes | ResultAs::File(_), Encode::Json) => {
                out.extend_from_slice(b"{\"base64\":\"");
                out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
                out.extend_from_slice(b"\"}");
                Ok(Form::Json)
            }
        }
    }
}

/// Longest part of a guest's own error that its message quotes, in bytes.
const MAX_MESSAGE: usize = 4096;
/// Longest error that its detail carries as a value, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// An outcome `error` with the bytes that the guest gave for it.
#[must_use]
pub fn guest_error(bytes: &[u8], result: &ResultAs) -> Failure {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)]);
    let message = if text.is_empty() { "the task failed without a message".to_owned() } else { text.into_owned() };
    Failure::new(Kind::Error, message).with(|detail| {
        if bytes.len() > MAX_VALUE {
            return;
        }
        let mut text = Vec::new();
        if *result != ResultAs::Json || compact(bytes, &mut text).is_err() {
            write_string(&String::from_utf8_lossy(bytes), &mut text);
        }
        detail.value = String::from_utf8(text).ok().and_then(JsonText::new);
    })
}
