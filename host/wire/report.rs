//! The payloads of the hot path: a task on its way to the worker, the report
//! on its way back. Pure; the reading side checks every length.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes};

use crate::limits::Tighter;
use crate::outcome::{Captured, Failure, Form, JsonText, Kind, Usage, Value};
use crate::wire::frame::{FrameKind, Head};
use crate::wire::message::ItemForm;
use crate::wire::run::{item_flags, item_form};

const FORM: u8 = 0b11;
const TASK_PATH: u8 = 1 << 2;
const TASK_TIGHTER: u8 = 1 << 3;
const FAILED: u8 = 1 << 2;
const TRUNCATED: u8 = 1 << 3;
const FUEL: u8 = 1 << 4;
const PRINTED: u8 = 1 << 5;

/// Bytes of a task's own limits.
const TIGHTER: usize = 16;

/// Bytes of a report before its optional parts.
const REPORT: usize = 32;

/// Longest message, or other text of a failure, that the host keeps, in bytes.
const MAX_TEXT: usize = 4096;

/// Longest JSON of a failure, in bytes: a value of 1 MiB may be a string of
/// controls, each of which takes six.
const MAX_FAILURE: usize = 8 << 20;

/// What a task frame says besides its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskParts<'a> {
    /// How to read `item`.
    pub form: ItemForm,
    /// The file's path for placeholders.
    pub path: Option<&'a str>,
    /// Limits below the pool's.
    pub tighter: Tighter,
    /// The item's bytes.
    pub item: &'a [u8],
}

/// Head and leading payload bytes of a task; the item's own bytes follow them.
pub fn put_task(out: &mut Vec<u8>, mut head: Head, parts: &TaskParts<'_>) {
    let path = parts.path.unwrap_or_default();
    let path = &path.as_bytes()[..path.len().min(usize::from(u16::MAX))];
    head.flags = item_flags(parts.form);
    let mut extra = 0;
    if parts.path.is_some() {
        head.flags |= TASK_PATH;
        extra = 2 + path.len();
    }
    if !parts.tighter.is_none() {
        head.flags |= TASK_TIGHTER;
        extra += TIGHTER;
    }
    head.length = (parts.item.len() + extra) as u32;
    head.put(out);
    if !parts.tighter.is_none() {
        out.put_u64_le(parts.tighter.fuel.unwrap_or(u64::MAX));
        out.put_u64_le(parts.tighter.memory.unwrap_or(u64::MAX));
    }
    if parts.path.is_some() {
        out.put_u16_le(path.len() as u16);
        out.put_slice(path);
    }
}

/// Reads a task's payload.
#[must_use]
pub fn read_task<'a>(head: &Head, payload: &'a [u8]) -> Option<TaskParts<'a>> {
    let form = item_form(head.flags)?;
    let (mut payload, mut tighter) = (payload, Tighter::default());
    if head.flags & TASK_TIGHTER != 0 {
        let limit = |limit: u64| Some(limit).filter(|limit| *limit != u64::MAX);
        tighter =
            Tighter { fuel: limit(payload.try_get_u64_le().ok()?), memory: limit(payload.try_get_u64_le().ok()?) };
    }
    if head.flags & TASK_PATH == 0 {
        return Some(TaskParts { form, path: None, tighter, item: payload });
    }
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (path, item) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some(TaskParts { form, path: std::str::from_utf8(path).ok(), tighter, item })
}

/// A finished task, as the worker reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskReport {
    /// The value or the failure.
    pub result: Result<Value, Failure>,
    /// When it started.
    pub started: SystemTime,
    /// What it used.
    pub usage: Usage,
    /// What it printed.
    pub captured: Captured,
}

/// What the worker knows about a finished task beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// Start, in microseconds since the epoch.
    pub started_us: u64,
    /// Wall time in nanoseconds.
    pub wall_ns: u64,
    /// Processor time in nanoseconds.
    pub cpu_ns: u64,
    /// Peak of memory in bytes.
    pub peak_memory: u64,
    /// Instructions, where they are counted.
    pub fuel: Option<u64>,
    /// Tail of stdout.
    pub stdout: &'a [u8],
    /// Tail of stderr.
    pub stderr: &'a [u8],
    /// Something before the tails was dropped.
    pub truncated: bool,
}

/// Appends a whole `Done` frame.
pub fn put_report(out: &mut Vec<u8>, head: Head, figures: &Figures<'_>, result: Result<(Form, &[u8]), &Failure>) {
    match result {
        Ok((form, value)) => {
            put_value_report(out, head, figures, form, value.len());
            out.put_slice(value);
        }
        Err(failure) => {
            // A failure is plain strings and numbers; its JSON cannot fail.
            let json = serde_json::to_vec(failure).unwrap_or_default();
            put_figures(out, head, figures, FAILED, json.len());
            out.put_slice(&json);
        }
    }
}

/// Appends a `Done` frame up to its value, whose `length` bytes follow it.
pub fn put_value_report(out: &mut Vec<u8>, head: Head, figures: &Figures<'_>, form: Form, length: usize) {
    let form = match form {
        Form::Json => 0,
        Form::Text => 1,
        Form::Bytes => 2,
    };
    put_figures(out, head, figures, form, length);
}

/// Head and figures of a report that ends with `rest` bytes more.
fn put_figures(out: &mut Vec<u8>, mut head: Head, figures: &Figures<'_>, flags: u8, rest: usize) {
    let printed = !figures.stdout.is_empty() || !figures.stderr.is_empty();
    head.kind = FrameKind::Done;
    head.flags = flags;
    let mut length = REPORT + rest;
    if figures.truncated {
        head.flags |= TRUNCATED;
    }
    if printed {
        head.flags |= PRINTED;
        length += 8 + figures.stdout.len() + figures.stderr.len();
    }
    if figures.fuel.is_some() {
        head.flags |= FUEL;
        length += 8;
    }
    head.length = length as u32;
    head.put(out);
    out.put_u64_le(figures.started_us);
    out.put_u64_le(figures.wall_ns);
    out.put_u64_le(figures.cpu_ns);
    out.put_u64_le(figures.peak_memory);
    if let Some(fuel) = figures.fuel {
        out.put_u64_le(fuel);
    }
    if printed {
        out.put_u32_le(figures.stdout.len() as u32);
        out.put_u32_le(figures.stderr.len() as u32);
        out.put_slice(figures.stdout);
        out.put_slice(figures.stderr);
    }
}

fn value_form(flags: u8) -> Option<Form> {
    Some(match flags & FORM {
        0 => Form::Json,
        1 => Form::Text,
        2 => Form::Bytes,
        _ => return None,
    })
}

/// Reads a report; `None` when it is not one. Believes nothing.
#[must_use]
pub fn read_report(head: &Head, mut payload: Bytes) -> Option<TaskReport> {
    if payload.len() < REPORT {
        return None;
    }
    let started = UNIX_EPOCH.checked_add(Duration::from_micros(payload.get_u64_le()))?;
    let wall = Duration::from_nanos(payload.get_u64_le());
    let cpu = Duration::from_nanos(payload.get_u64_le());
    let peak_memory = payload.get_u64_le();
    let fuel = if head.flags & FUEL == 0 { None } else { Some(payload.try_get_u64_le().ok()?) };
    let mut captured = Captured::default();
    if head.flags & PRINTED != 0 {
        let stdout = payload.try_get_u32_le().ok()? as usize;
        let stderr = payload.try_get_u32_le().ok()? as usize;
        if payload.len() < stdout.checked_add(stderr)? {
            return None;
        }
        captured.stdout = payload.split_to(stdout);
        captured.stderr = payload.split_to(stderr);
    }
    captured.truncated = head.flags & TRUNCATED != 0;
    let usage = Usage { wall, cpu, fuel, peak_memory };
    let result = if head.flags & FAILED == 0 {
        let form = value_form(head.flags)?;
        Ok(Value { form, bytes: payload })
    } else {
        Err(read_failure(&payload)?)
    };
    Some(TaskReport { result, started, usage, captured })
}

fn read_failure(json: &[u8]) -> Option<Failure> {
    if json.len() > MAX_FAILURE {
        return None;
    }
    let mut failure: Failure = serde_json::from_slice(json).ok()?;
    if failure.kind == Kind::Ok {
        return None;
    }
    cut(&mut failure.message);
    let detail = &mut *failure.detail;
    let texts = [&mut detail.trap, &mut detail.reason, &mut detail.path, &mut detail.phase];
    let names = detail.frames.iter_mut().map(|frame| &mut frame.func);
    let others = [&mut detail.import, &mut detail.clock];
    texts.into_iter().chain(others).chain(names).flatten().for_each(cut);
    if let Some(limit) = &mut detail.limit {
        [&mut limit.name, &mut limit.unit, &mut limit.flag].into_iter().for_each(cut);
    }
    detail.denied.iter_mut().for_each(cut);
    // It goes out as it is, and has to stay on its line.
    detail.value = detail.value.take().and_then(|value| JsonText::new(value.get()));
    Some(failure)
}

fn cut(text: &mut String) {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::Decoder;

    fn read(json: &str) -> Option<Failure> {
        read_failure(json.as_bytes())
    }

    #[test]
    fn no_text_of_a_failure_is_long() {
        let long = "é".repeat(10_000);
        let json = format!(
            r#"{{"kind":"trap","message":"{long}","detail":{{"trap":"{long}","import":"{long}","denied":["{long}"],
            "limit":{{"name":"{long}","value":1,"unit":"{long}","flag":"{long}"}},"frames":[{{"func":"{long}","index":1}}]}}}}"#
        );
        let failure = read(&json).expect("a failure");
        let text = serde_json::to_string(&failure).expect("JSON");
        assert!(text.len() < 8 * (MAX_TEXT + 200), "{}", text.len());
        assert!(failure.message.ends_with('…'));
    }

    #[test]
    fn lists_of_a_failure_are_short_or_it_is_none() {
        let frames = |count: usize| vec![r#"{"index":1}"#; count].join(",");
        let json = |list: String| format!(r#"{{"kind":"trap","message":"","detail":{{{list}}}}}"#);
        let most = crate::outcome::MAX_FRAMES;
        assert!(read(&json(format!("\"frames\":[{}]", frames(most)))).is_some());
        assert_eq!(read(&json(format!("\"frames\":[{}]", frames(most + 1)))), None);
        assert_eq!(read(&json(format!("\"denied\":[{}]", vec!["\"\""; 1000].join(",")))), None);
    }

    #[test]
    fn a_failures_value_is_one_line_of_json_whatever_its_depth() {
        let deep = format!("{}\n{}", "[".repeat(100_000), "]".repeat(100_000));
        let failure = read(&format!(r#"{{"kind":"error","message":"","detail":{{"value":{deep}}}}}"#));
        let value = failure.expect("a failure").detail.value.expect("a value");
        assert_eq!(value.get(), deep.replace('\n', " "));
        assert_eq!(read(r#"{"kind":"error","message":"","detail":{"value":[}}"#), None);
    }

    proptest! {
        #[test]
        fn any_payload_is_a_report_or_nothing(flags in any::<u8>(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut head = Head::control(FrameKind::Done, payload.len() as u32);
            head.flags = flags;
            let length = payload.len();
            if let Some(report) = read_report(&head, Bytes::from(payload)) {
                let value = report.result.map_or(0, |value| value.bytes.len());
                prop_assert!(value + report.captured.stdout.len() + report.captured.stderr.len() <= length);
            }
        }

        #[test]
        fn a_report_survives_the_wire(
            value in prop::collection::vec(any::<u8>(), 0..100),
            stdout in prop::collection::vec(any::<u8>(), 0..50),
            fuel in any::<Option<u64>>(),
            failed in any::<bool>(),
        ) {
            let failure = Failure::new(Kind::Trap, "wasm trap");
            let figures = Figures {
                started_us: 5, wall_ns: 6, cpu_ns: 7, peak_memory: 8, fuel,
                stdout: &stdout, stderr: b"", truncated: true,
            };
            let mut out = Vec::new();
            let result = if failed { Err(&failure) } else { Ok((Form::Text, value.as_slice())) };
            put_report(&mut out, Head::control(FrameKind::Done, 0), &figures, result);
            let mut decoder = Decoder::new(1 << 20);
            decoder.buffer().extend_from_slice(&out);
            let (head, payload) = decoder.next_frame().expect("frames").expect("whole");
            let report = read_report(&head, payload).expect("a report");
            prop_assert_eq!(report.usage.fuel, fuel);
            prop_assert_eq!(report.captured.stdout.as_ref(), stdout.as_slice());
            prop_assert!(report.captured.truncated);
            match report.result {
                Ok(read) => prop_assert!(!failed && read.form == Form::Text && read.bytes == value),
                Err(read) => prop_assert!(failed && read == failure),
            }
        }

        #[test]
        fn a_report_whose_value_follows_is_the_same(
            value in prop::collection::vec(any::<u8>(), 0..100),
            stdout in prop::collection::vec(any::<u8>(), 0..50),
            fuel in any::<Option<u64>>(),
        ) {
            let figures = Figures {
                started_us: 5, wall_ns: 6, cpu_ns: 7, peak_memory: 8, fuel,
                stdout: b"", stderr: &stdout, truncated: false,
            };
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            let head = Head::control(FrameKind::Done, 0);
            put_report(&mut whole, head, &figures, Ok((Form::Bytes, &value)));
            put_value_report(&mut parts, head, &figures, Form::Bytes, value.len());
            parts.extend_from_slice(&value);
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn a_task_survives_the_wire(
            item in prop::collection::vec(any::<u8>(), 0..100),
            path in any::<Option<String>>(),
            (fuel, memory) in any::<(Option<u32>, Option<u32>)>(),
        ) {
            let tighter = Tighter { fuel: fuel.map(u64::from), memory: memory.map(u64::from) };
            let parts = TaskParts { form: ItemForm::Raw, path: path.as_deref(), tighter, item: &item };
            let mut out = Vec::new();
            put_task(&mut out, Head::control(FrameKind::Task, 0), &parts);
            out.extend_from_slice(&item);
            let mut decoder = Decoder::new(1 << 20);
            decoder.buffer().extend_from_slice(&out);
            let (head, payload) = decoder.next_frame().expect("frames").expect("whole");
            prop_assert_eq!(read_task(&head, &payload), Some(parts));
        }
    }
}
