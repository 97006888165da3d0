//! Records: one outcome as one line of JSON, keys in a fixed order.

use std::io::Write;
use std::time::Duration;

use super::text::{is_one_line, put_base64, put_checked, put_json, put_string, put_value};
use crate::outcome::{Form, Outcome, Tag};
use crate::wire::message::ItemForm;

/// What a record says about its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunNames {
    /// The module, as it was named.
    pub module: String,
    /// The function, as it was chosen.
    pub function: String,
}

/// What a record can say beside its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside<'a> {
    /// The file that holds the value.
    pub(crate) output: Option<&'a str>,
    /// The item itself.
    pub(crate) item: Option<(&'a [u8], ItemForm)>,
    /// What a journal needs to give the outcome back.
    pub(crate) journal: bool,
}

/// Appends a record and a newline.
pub fn put_record(out: &mut Vec<u8>, outcome: &Outcome, names: &RunNames) {
    put(out, outcome, names, Beside::default());
}

/// Appends a record with its item, where the tag kept it: a line that
/// `--input records` takes back.
pub fn put_failed(out: &mut Vec<u8>, outcome: &Outcome, names: &RunNames, form: ItemForm) {
    let item = outcome.tag.as_ref().and_then(|tag| tag.item.as_deref());
    put(out, outcome, names, Beside { item: item.map(|item| (item, form)), ..Beside::default() });
}

/// Appends a record and a newline, with what it takes to give the outcome
/// back.
pub fn put_journalled(out: &mut Vec<u8>, outcome: &Outcome, names: &RunNames) {
    put(out, outcome, names, Beside { journal: true, ..Beside::default() });
}

/// Appends a record and a newline. Writing into memory cannot fail, so the
/// results of it are not looked at.
pub(crate) fn put(out: &mut Vec<u8>, outcome: &Outcome, names: &RunNames, beside: Beside<'_>) {
    let _ = write!(out, "{{\"v\":1,\"index\":{},\"kind\":\"{}\"", outcome.index, outcome.kind());
    if beside.journal {
        put_key(out, outcome);
    }
    match (&outcome.result, beside.output) {
        (Ok(_), Some(path)) => put_text(out, "output", path.as_bytes()),
        (Ok(value), None) => {
            out.extend_from_slice(b",\"value\":");
            put_value(out, value);
        }
        (Err(failure), _) => {
            out.extend_from_slice(b",\"error\":{\"message\":");
            put_string(out, failure.message.as_bytes());
            out.extend_from_slice(b",\"detail\":");
            let detail = serde_json::to_string(&failure.detail);
            put_json(out, detail.as_deref().unwrap_or("{}"));
            out.push(b'}');
        }
    }
    put_text(out, "module", names.module.as_bytes());
    put_text(out, "function", names.function.as_bytes());
    if let Some(tag) = &outcome.tag {
        put_tag(out, tag);
    }
    if let Some((item, form)) = beside.item {
        put_item(out, item, form, outcome.tag.as_deref());
    }
    put_usage(out, outcome);
    put_text(out, "stdout", &outcome.captured.stdout);
    put_text(out, "stderr", &outcome.captured.stderr);
    let _ = writeln!(out, ",\"truncated\":{}}}", outcome.captured.truncated);
}

/// What a journal tells items apart by, and what JSON does not show of a
/// value.
fn put_key(out: &mut Vec<u8>, outcome: &Outcome) {
    if let Some(key) = outcome.tag.as_ref().and_then(|tag| tag.key) {
        let _ = write!(out, ",\"key\":\"{key}\"");
    }
    match &outcome.result {
        Ok(value) if value.form == Form::Bytes => out.extend_from_slice(b",\"as\":\"bytes\""),
        Ok(value) if value.form == Form::Text || !is_one_line(&value.bytes) => {
            out.extend_from_slice(b",\"as\":\"text\"");
        }
        _ => {}
    }
}

fn put_text(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    let _ = write!(out, ",\"{key}\":");
    put_string(out, text);
}

fn put_tag(out: &mut Vec<u8>, tag: &Tag) {
    if let Some(input) = &tag.input {
        put_text(out, "input", input.as_bytes());
    }
    if let Some(id) = &tag.id {
        out.extend_from_slice(b",\"id\":");
        put_json(out, id);
    }
}

fn put_item(out: &mut Vec<u8>, item: &[u8], form: ItemForm, tag: Option<&Tag>) {
    if let Some(path) = tag.and_then(|tag| tag.path.as_ref()) {
        put_text(out, "path", path.as_bytes());
    }
    match form {
        ItemForm::Json | ItemForm::Cells => {
            out.extend_from_slice(b",\"item\":");
            // An item may span lines, a record may not; outside strings JSON
            // has line ends only as white space, inside none.
            let line: Vec<u8> =
                item.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
            put_checked(out, &line);
        }
        ItemForm::Raw if std::str::from_utf8(item).is_ok() => put_text(out, "item", item),
        ItemForm::Raw => {
            out.extend_from_slice(b",\"item\":");
            put_base64(out, item);
        }
    }
    match form {
        ItemForm::Json => {}
        ItemForm::Cells => out.extend_from_slice(b",\"form\":\"cells\""),
        ItemForm::Raw => out.extend_from_slice(b",\"form\":\"raw\""),
    }
}

fn put_usage(out: &mut Vec<u8>, outcome: &Outcome) {
    let _ = write!(out, ",\"attempts\":{}", outcome.attempts);
    if let Some(worker) = outcome.worker {
        let _ = write!(out, ",\"worker\":{worker}");
    }
    if let Some(started) = outcome.started {
        let _ = write!(out, ",\"started\":\"{}\"", humantime::format_rfc3339_millis(started));
    }
    let usage = &outcome.usage;
    let _ = write!(out, ",\"wall_ms\":{},\"cpu_ms\":{}", millis(usage.wall), millis(usage.cpu));
    let _ = write!(out, ",\"peak_memory\":{}", usage.peak_memory);
    if let Some(fuel) = usage.fuel {
        let _ = write!(out, ",\"fuel\":{fuel}");
    }
}

/// Milliseconds with microseconds behind the point.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
