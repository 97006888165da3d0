//! What ends up in files and on streams.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::cli::input::{Format, Source};
use crate::outcome::{Captured, Failure, Form, Kind, LimitHit, Outcome, Tag, Usage, Value};

fn ok(index: u64, form: Form, bytes: &[u8]) -> Outcome {
    Outcome {
        index,
        result: Ok(Value { form, bytes: Bytes::copy_from_slice(bytes) }),
        attempts: 1,
        worker: Some(0),
        started: None,
        usage: Usage::default(),
        captured: Captured::default(),
        tag: None,
    }
}

fn failed(index: u64) -> Outcome {
    let hit = LimitHit::new("timeout", 2000, "ms", "--timeout");
    Outcome { result: Err(Failure::limit(Kind::Timeout, "ran longer than 2s", hit)), ..ok(index, Form::Json, b"") }
}

fn tagged(outcome: Outcome, tag: Tag) -> Outcome {
    Outcome { tag: Some(Box::new(tag)), ..outcome }
}

/// What a run's outcomes make of a file.
fn written(format: OutFormat, on_failure: OnFailure, outcomes: &[Outcome]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut writer = to_file(&path, format, on_failure);
    for outcome in outcomes {
        assert_eq!(writer.write(outcome).unwrap(), None);
    }
    let bytes = writer.bytes_out();
    writer.finish().unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert!(bytes <= text.len() as u64 && text.len() as u64 <= bytes + 3);
    text
}

fn to_file(path: &Path, format: OutFormat, on_failure: OnFailure) -> Writer {
    Writer::new(Options { target: Target::File(path.to_owned()), on_failure, ..Options::new(format) }).unwrap()
}

fn mixed() -> Vec<Outcome> {
    vec![ok(0, Form::Json, b"{\"a\":1}"), ok(1, Form::Text, b"x\"\n\x1b"), failed(2), ok(3, Form::Bytes, b"\xff\0")]
}

#[test]
fn an_array_is_compact_and_keeps_positions() {
    let text = written(OutFormat::Json, OnFailure::Null, &mixed());
    assert_eq!(text, "[{\"a\":1},\"x\\\"\\n\\u001b\",null,{\"base64\":\"/wA=\"}]\n");
    assert_eq!(written(OutFormat::Json, OnFailure::Null, &[]), "[]\n");
}

#[test]
fn failed_items_can_be_left_out() {
    assert_eq!(written(OutFormat::Json, OnFailure::Omit, &[failed(0), ok(1, Form::Json, b"1")]), "[1]\n");
    assert_eq!(written(OutFormat::Jsonl, OnFailure::Omit, &[failed(0), ok(1, Form::Json, b"1")]), "1\n");
    assert_eq!(written(OutFormat::Jsonl, OnFailure::Null, &[failed(0), ok(1, Form::Json, b"1")]), "null\n1\n");
}

#[test]
fn lines_and_raw_are_exact_and_have_no_place_for_failures() {
    let outcomes = [ok(0, Form::Text, b"a"), failed(1), ok(2, Form::Json, b"[1]"), ok(3, Form::Text, b"\x1b")];
    assert_eq!(written(OutFormat::Lines, OnFailure::Null, &outcomes), "a\n[1]\n\x1b\n");
    assert_eq!(written(OutFormat::Raw, OnFailure::Null, &outcomes), "a[1]\x1b");
}

#[test]
fn what_is_no_json_cannot_pass_for_it() {
    for forged in ["1\n{\"v\":1,\"index\":9}", "", "{", "1,2", "\"\n\""] {
        let text = written(OutFormat::Jsonl, OnFailure::Null, &[ok(0, Form::Json, forged.as_bytes())]);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), forged);
        assert_eq!(text.matches('\n').count(), 1);
    }
}

#[test]
fn no_value_can_harm_a_terminal_and_all_stay_what_they_are() {
    let hostile = "\u{7f}\u{9b}31m\u{202e}é日\u{feff}";
    for value in [hostile.to_owned(), hostile.repeat(40_000)] {
        let json = serde_json::to_string(&[&value]).unwrap();
        for format in [OutFormat::Json, OutFormat::Jsonl, OutFormat::Records] {
            let text = written(format, OnFailure::Null, &[ok(0, Form::Json, json.as_bytes())]);
            let raw = text.chars().find(|character| *character != '\n' && crate::escape::is_unsafe(*character));
            assert_eq!(raw, None, "{format:?}");
            assert!(text.contains("é日"));
            let back: serde_json::Value = serde_json::from_str(&text).unwrap();
            let back = if format == OutFormat::Records { &back["value"] } else { &back };
            let inner = if format == OutFormat::Json { &back[0][0] } else { &back[0] };
            assert_eq!(inner.as_str(), Some(value.as_str()), "{format:?}");
        }
    }
}

#[test]
fn a_record_of_a_failure_is_as_documented() {
    let outcome = Outcome {
        worker: Some(2),
        started: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_248_000_123)),
        usage: Usage {
            wall: Duration::from_micros(2_000_400),
            cpu: Duration::from_nanos(1_998_100_499),
            fuel: Some(7),
            peak_memory: 1_114_112,
        },
        captured: Captured {
            stdout: Bytes::from_static(b"a\xff\n"),
            stderr: Bytes::from_static("\u{202e}".as_bytes()),
            truncated: true,
        },
        ..tagged(
            failed(3),
            Tag { input: Some("docs/a.txt".to_owned()), id: Some("\"x\"".to_owned()), ..Tag::default() },
        )
    };
    let names = RunNames { module: "tasks.wasm".to_owned(), function: "f".to_owned() };
    let mut out = Vec::new();
    put_record(&mut out, &outcome, &names);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"v":1,"index":3,"kind":"timeout","error":{"message":"ran longer than 2s (raise it with --timeout)","#,
            r#""detail":{"limit":{"name":"timeout","value":2000,"unit":"ms","flag":"--timeout"}}},"#,
            r#""module":"tasks.wasm","function":"f","input":"docs/a.txt","id":"x","attempts":1,"worker":2,"#,
            r#""started":"2026-11-21T08:00:00.123Z","wall_ms":2000.4,"cpu_ms":1998.1,"peak_memory":1114112,"fuel":7,"#,
            "\"stdout\":\"a\u{fffd}\\n\",\"stderr\":\"\\u202e\",\"truncated\":true}\n"
        )
    );
}

#[test]
fn json_of_guests_is_escaped_as_our_own_is() {
    for (json, written) in [
        ("{\"a\":\t\"日本\"}", "{\"a\":\t\"日本\"}"),
        ("[\"\u{9b}\",\"\u{202e}\u{7f}\"]", "[\"\\u009b\",\"\\u202e\\u007f\"]"),
        ("\"\u{e0041}\"", "\"\\udb40\\udc41\""),
    ] {
        let value = Value { form: Form::Json, bytes: Bytes::copy_from_slice(json.as_bytes()) };
        let mut out = Vec::new();
        text::put_value(&mut out, &value);
        assert_eq!(String::from_utf8(out).unwrap(), written);
    }
}

#[test]
fn a_record_of_success_has_a_value_and_only_what_is_known() {
    let text = written(OutFormat::Records, OnFailure::Omit, &[ok(0, Form::Json, b"7"), failed(1)]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        concat!(
            r#"{"v":1,"index":0,"kind":"ok","value":7,"module":"","function":"","attempts":1,"worker":0,"#,
            r#""wall_ms":0,"cpu_ms":0,"peak_memory":0,"stdout":"","stderr":"","truncated":false}"#
        )
    );
    assert!(lines[1].contains("\"kind\":\"timeout\"") && lines.len() == 2);
}

#[test]
fn failures_come_back_as_items() {
    let items: [(&[u8], ItemForm); 4] = [
        (b"{\"a\":\n1}", ItemForm::Json),
        (b"line \"x\"\n", ItemForm::Raw),
        (b"\xff\0", ItemForm::Raw),
        (b"{\"a\":\"1\"}", ItemForm::Cells),
    ];
    for (item, form) in items {
        let tag = Tag {
            input: Some("in:3".to_owned()),
            path: Some("p".to_owned()),
            item: Some(Bytes::copy_from_slice(item)),
            ..Tag::default()
        };
        let mut out = Vec::new();
        put_failed(&mut out, &tagged(failed(41), tag), &RunNames::default(), form);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed");
        fs::write(&path, out).unwrap();
        let source = Source { format: Some(Format::Records), ..Source::new(path.to_str().unwrap()) };
        let reader = crate::cli::input::open(&source).unwrap();
        assert_eq!(reader.form(), form);
        let back: Vec<_> = reader.collect();
        let body = back[0].body.as_ref().unwrap();
        let expected: Vec<u8> =
            item.iter().map(|byte| if form == ItemForm::Json && *byte == b'\n' { b' ' } else { *byte }).collect();
        assert_eq!((back[0].index, body.form, &body.bytes[..]), (41, form, &expected[..]));
        assert_eq!(back[0].tag.as_ref().unwrap().input.as_deref(), Some("in:3"));
    }
}

#[test]
fn a_file_has_its_name_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, part) = (dir.path().join("out.json"), dir.path().join("out.json.part"));
    fs::write(&whole, "before").unwrap();
    let write = || {
        let mut writer = to_file(&whole, OutFormat::Json, OnFailure::Null);
        writer.write(&ok(0, Form::Json, b"1")).unwrap();
        writer
    };
    write().stop().unwrap();
    assert_eq!(fs::read_to_string(&part).unwrap(), "[1]\n");
    write().abort().unwrap();
    assert_eq!(fs::read_to_string(&part).unwrap(), "[1");
    assert_eq!(fs::read_to_string(&whole).unwrap(), "before");
    write().finish().unwrap();
    assert_eq!(fs::read_to_string(&whole).unwrap(), "[1]\n");
    assert!(!part.exists());
    drop(to_file(&whole, OutFormat::Json, OnFailure::Null));
    assert!(!part.exists(), "a run that wrote nothing leaves nothing");
}

#[test]
fn a_link_to_a_file_stays_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    to_file(&link, OutFormat::Json, OnFailure::Null).finish().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "[]\n");
}

#[test]
fn devices_are_opened_as_they_are_and_a_full_one_is_an_error() {
    to_file(Path::new("/dev/null"), OutFormat::Json, OnFailure::Null).finish().unwrap();
    let error = to_file(Path::new("/dev/full"), OutFormat::Json, OnFailure::Null).finish().unwrap_err();
    assert!(matches!(&error, WriteError::Failed(error) if error.exit_code() == 4), "{error}");
    assert!(error.to_string().starts_with("cannot write /dev/full: "));
    assert!(!Path::new("/dev/full.part").exists());
}

#[test]
fn a_closed_pipe_is_told_from_other_faults() {
    let (receive, send) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&send));
    let mut writer = to_file(Path::new(&path), OutFormat::Jsonl, OnFailure::Null);
    drop((receive, send));
    writer.write(&ok(0, Form::Json, b"1")).unwrap();
    assert!(matches!(writer.finish(), Err(WriteError::Closed)));
}

#[test]
fn results_are_handed_on_when_no_other_is_at_hand() {
    let (mut receive, send) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&send));
    let target = Target::File(path.into());
    let options = Options { target, flush_idle: true, ..Options::new(OutFormat::Jsonl) };
    let mut writer = Writer::new(options).unwrap();
    writer.write(&ok(0, Form::Json, b"12")).unwrap();
    writer.idle().unwrap();
    let mut text = [0; 3];
    std::io::Read::read_exact(&mut receive, &mut text).unwrap();
    assert_eq!(&text, b"12\n");
}

/// Writes outcomes under a pattern inside a directory of its own.
struct Patterned {
    dir: tempfile::TempDir,
    files: files::ItemFiles,
}

impl Patterned {
    fn new(pattern: &str, overwrite: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pattern = format!("{}/{pattern}", dir.path().display());
        let files = files::ItemFiles::new(Template::parse(&pattern), overwrite, ItemForm::Json);
        Self { dir, files }
    }

    fn write(&self, outcome: &Outcome) -> Result<String, String> {
        let value = outcome.result.as_ref().unwrap();
        match self.files.write(outcome, value) {
            Ok(path) => Ok(path.strip_prefix(&format!("{}/", self.dir.path().display())).unwrap().to_owned()),
            Err(files::NoFile::Item(failure)) => {
                assert_eq!(failure.kind, Kind::BadInput);
                Err(failure.message)
            }
            Err(files::NoFile::Fatal(error)) => Err(format!("fatal: {error}")),
        }
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(path)).unwrap()
    }
}

fn with_id(id: &str) -> Outcome {
    let id = Some(serde_json::json!(id).to_string());
    tagged(ok(5, Form::Bytes, b"\xff"), Tag { id, ..Tag::default() })
}

#[test]
fn a_pattern_gives_each_item_a_file_of_exact_bytes() {
    let patterned = Patterned::new("out/{stem}/{index}.bin", false);
    let tag = Tag { input: Some("in/x.txt".to_owned()), path: Some("x.txt".to_owned()), ..Tag::default() };
    let outcome = tagged(ok(5, Form::Bytes, b"\xff\0"), tag);
    assert_eq!(patterned.write(&outcome).unwrap(), "out/x/5.bin");
    assert_eq!(patterned.read("out/x/5.bin"), b"\xff\0");
}

#[test]
fn files_are_replaced_only_when_asked_to() {
    let patterned = Patterned::new("{id}", false);
    patterned.write(&with_id("a")).unwrap();
    let error = patterned.write(&with_id("a")).unwrap_err();
    assert!(error.starts_with("fatal: ") && error.contains("--overwrite"), "{error}");
    let patterned = Patterned::new("{id}", true);
    patterned.write(&with_id("a")).unwrap();
    patterned.write(&with_id("a")).unwrap();
}

#[test]
fn no_item_can_name_a_file_outside() {
    let patterned = Patterned::new("out/{id}", true);
    for id in ["..", "../x", "a/../../x", "a/..", "", ".", "x/", "a\0b"] {
        let error = patterned.write(&with_id(id)).unwrap_err();
        assert!(error.contains("cannot name an output file"), "{id:?}: {error}");
    }
    assert!(patterned.write(&with_id(&"x".repeat(300))).unwrap_err().contains("too long"));
    assert_eq!(patterned.write(&with_id("/abs/x")).unwrap(), "out//abs/x");
    assert_eq!(patterned.read("out/abs/x"), b"\xff");
    let dotted = Patterned::new("out/.{id}/x", true);
    assert!(dotted.write(&with_id(".")).unwrap_err().contains("leads out"));
    assert!(patterned.write(&ok(0, Form::Text, b"")).unwrap_err().contains("no name for the output file"));
}

#[test]
fn links_below_the_pattern_are_not_followed() {
    let patterned = Patterned::new("out/{id}", true);
    patterned.write(&with_id("first")).unwrap();
    std::os::unix::fs::symlink("/tmp", patterned.dir.path().join("out/link")).unwrap();
    std::os::unix::fs::symlink("/tmp/no", patterned.dir.path().join("out/file")).unwrap();
    assert!(patterned.write(&with_id("link/wpool-test")).unwrap_err().starts_with("fatal: "));
    assert!(patterned.write(&with_id("file")).unwrap_err().starts_with("fatal: "));
}

#[test]
fn options_tell_what_workers_must_hand_over() {
    let exact =
        |target: &str, format| Options { target: Target::parse(target), ..Options::new(format) }.requires_exact();
    assert!(exact("-", OutFormat::Raw) && exact("-", OutFormat::Lines) && exact("out/{index}", OutFormat::Json));
    assert!(!exact("-", OutFormat::Records) && !exact("out.json", OutFormat::Json));
    assert!(Target::parse("{2}.json").needs_item() && !Target::parse("{index}").needs_item());
}

#[test]
fn a_failure_is_one_line_and_its_tails_are_under_it() {
    let mut printer = FailurePrinter::new(ShowOutput::Failed);
    let outcome = Outcome {
        captured: Captured {
            stdout: Bytes::new(),
            stderr: Bytes::from_static(b"one\nerror: item 9: trap\x1b[2J\n"),
            truncated: false,
        },
        ..failed(3)
    };
    let expected = "error: item 3: timeout: ran longer than 2s (raise it with --timeout)\n  stderr | one\n  \
                    stderr | error: item 9: trap\\x1b[2J\n";
    assert_eq!(printer.report(&outcome).unwrap(), expected);
    let named = tagged(failed(4), Tag { input: Some("a\n.txt".to_owned()), ..Tag::default() });
    assert!(printer.report(&named).unwrap().starts_with("error: item 4 (a\\n.txt): timeout: "));
    assert_eq!(printer.summary(), None);
}

#[test]
fn output_is_shown_as_asked() {
    let captured = Captured { stdout: Bytes::from_static(b"hi"), ..Captured::default() };
    let (good, bad) =
        (Outcome { captured: captured.clone(), ..ok(1, Form::Json, b"1") }, Outcome { captured, ..failed(2) });
    let lines = |show, outcome| FailurePrinter::new(show).report(outcome);
    assert_eq!(lines(ShowOutput::All, &good).unwrap(), "item 1:\n  stdout | hi\n");
    assert_eq!(lines(ShowOutput::Failed, &good), None);
    assert!(lines(ShowOutput::Failed, &bad).unwrap().ends_with("stdout | hi\n"));
    assert!(!lines(ShowOutput::Never, &bad).unwrap().contains("hi"));
}

#[test]
fn after_twenty_failures_and_for_cancelled_ones_there_are_only_counts() {
    let mut printer = FailurePrinter::new(ShowOutput::Failed);
    let cancelled = |index| Outcome { result: Err(Failure::new(Kind::Cancelled, "cancelled")), ..failed(index) };
    assert_eq!(printer.report(&cancelled(0)), None);
    assert_eq!(printer.summary().unwrap(), "error: 1 item failed: cancelled 1\n");
    let shown = (1..=30).filter(|index| printer.report(&failed(*index)).is_some()).count();
    assert_eq!(shown, 20);
    assert_eq!(printer.summary().unwrap(), "error: 11 more items failed: timeout 10, cancelled 1\n");
}
