//! Text and bytes as JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::escape;
use crate::outcome::{Form, Value};
use crate::scan;

/// Appends a JSON string. What could harm a terminal is escaped even where
/// JSON does not ask for it; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        put_chars(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn put_chars(out: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if !matches!(character, '"' | '\\') && !escape::is_unsafe(character) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + character.len_utf8();
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            _ => put_units(out, character),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// Appends JSON text that others made, with what could harm a terminal
/// escaped: outside strings there is nothing of the kind.
pub(crate) fn put_json(out: &mut Vec<u8>, json: &str) {
    let mut plain = 0;
    for (at, character) in json.char_indices().filter(|(_, character)| escape::is_unsafe(*character)) {
        out.extend_from_slice(&json.as_bytes()[plain..at]);
        plain = at + character.len_utf8();
        put_units(out, character);
    }
    out.extend_from_slice(&json.as_bytes()[plain..]);
}

fn put_units(out: &mut Vec<u8>, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing into memory cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Appends `{"base64":"…"}`.
pub(crate) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"{\"base64\":\"");
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(b"\"}");
}

/// Appends a value as JSON on one line.
pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value.form {
        // A worker that is no longer ours could send anything: what is not
        // one line of JSON may not pass for it.
        Form::Json if is_one_line(&value.bytes) => out.extend_from_slice(&value.bytes),
        Form::Json | Form::Text => put_string(out, &value.bytes),
        Form::Bytes => put_base64(out, &value.bytes),
    }
}

fn is_one_line(text: &[u8]) -> bool {
    scan::check(text).is_ok() && memchr::memchr2(b'\n', b'\r', text).is_none()
}
