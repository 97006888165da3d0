//! Text and bytes as JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::WriteError;
use super::sink::Sink;
use crate::escape;
use crate::outcome::{Form, Value};
use crate::scan;

/// Appends a JSON string. What could harm a terminal is escaped even where
/// JSON does not ask for it; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    put_lossy(out, text);
    out.push(b'"');
}

fn put_lossy(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        put_chars(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
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
/// escaped: outside strings there is nothing of the kind but white space.
pub(crate) fn put_json(out: &mut Vec<u8>, json: &str) {
    let mut plain = 0;
    let harmful = |character: char| character >= ESCAPED && escape::is_unsafe(character);
    for (at, character) in json.char_indices().filter(|(_, character)| harmful(*character)) {
        out.extend_from_slice(&json.as_bytes()[plain..at]);
        plain = at + character.len_utf8();
        put_units(out, character);
    }
    out.extend_from_slice(&json.as_bytes()[plain..]);
}

/// The same for bytes that are JSON but for what is no UTF-8.
pub(crate) fn put_checked(out: &mut Vec<u8>, json: &[u8]) {
    if is_plain(json) {
        return out.extend_from_slice(json);
    }
    for chunk in json.utf8_chunks() {
        put_json(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The first character that JSON may have in a string and a terminal may not
/// have anywhere.
const ESCAPED: char = '\x7f';

/// Whether JSON text has nothing to be escaped: most has not.
fn is_plain(json: &[u8]) -> bool {
    json.iter().all(|byte| *byte < ESCAPED as u8)
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
        Form::Json if is_one_line(&value.bytes) => put_checked(out, &value.bytes),
        Form::Json | Form::Text => put_string(out, &value.bytes),
        Form::Bytes => put_base64(out, &value.bytes),
    }
}

/// Values from this size on are written without being gathered whole, in
/// bytes.
const LARGE: usize = 256 << 10;

/// Writes a value as JSON on one line; the caller says when an outcome is
/// whole.
pub(crate) fn write_value(sink: &mut Sink, value: &Value) -> Result<(), WriteError> {
    if value.bytes.len() < LARGE {
        put_value(sink.buffer(), value);
        return Ok(());
    }
    match value.form {
        Form::Json if is_one_line(&value.bytes) => {
            if is_plain(&value.bytes) {
                return sink.put_large(&value.bytes);
            }
            by_parts(sink, &value.bytes, put_checked)
        }
        Form::Json | Form::Text => write_string(sink, &value.bytes),
        Form::Bytes => {
            sink.buffer().extend_from_slice(b"{\"base64\":\"");
            // Whole groups of three: only the last part can need padding.
            for part in value.bytes.chunks(LARGE - LARGE % 3) {
                sink.buffer().extend_from_slice(STANDARD.encode(part).as_bytes());
                sink.part_passed()?;
            }
            sink.buffer().extend_from_slice(b"\"}");
            Ok(())
        }
    }
}

/// Writes a value's own bytes.
pub(crate) fn write_exact(sink: &mut Sink, value: &Value) -> Result<(), WriteError> {
    if value.bytes.len() >= LARGE {
        return sink.put_large(&value.bytes);
    }
    sink.buffer().extend_from_slice(&value.bytes);
    Ok(())
}

/// As [`put_string`], part by part.
fn write_string(sink: &mut Sink, text: &[u8]) -> Result<(), WriteError> {
    sink.buffer().push(b'"');
    by_parts(sink, text, put_lossy)?;
    sink.buffer().push(b'"');
    Ok(())
}

/// Appends a large text by parts that split no character.
fn by_parts(sink: &mut Sink, text: &[u8], put: fn(&mut Vec<u8>, &[u8])) -> Result<(), WriteError> {
    let mut rest = text;
    while !rest.is_empty() {
        // A byte that begins a character is in no character before it.
        let cut = (LARGE..rest.len()).find(|at| rest[*at] & 0xc0 != 0x80).unwrap_or(rest.len());
        let (part, after) = rest.split_at(cut);
        put(sink.buffer(), part);
        sink.part_passed()?;
        rest = after;
    }
    Ok(())
}

/// Whether it is one JSON value on one line.
pub(crate) fn is_one_line(text: &[u8]) -> bool {
    scan::check(text).is_ok() && memchr::memchr2(b'\n', b'\r', text).is_none()
}
