//! Functions that take hostile bytes, one for each door through which such
//! bytes come in. They panic where something does not hold. `cargo fuzz` calls
//! them from `fuzz_targets/`, and the tests from `tests/it/fuzz.rs`.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use bytes::Bytes;
use wpool::cli::input::{Format, Only, Source};
use wpool::cli::{schema, units};
use wpool::describe::Description;
use wpool::escape;
use wpool::limits::Features;
use wpool::placeholder::{Content, Template, Values};
use wpool::pool::cache::{Cache, EngineSettings, Key};
use wpool::pool::module::Module;
use wpool::pool::target::{Choice, choose};
use wpool::scan;
use wpool::value::json;
use wpool::value::packed::Packed;
use wpool::value::ty::{Case, Field, Ty};
use wpool::wire::frame::{Decoder, FrameKind, HEADER, Head};
use wpool::wire::message::{BytesAs, Compiled, Ready, Refusal, Setup, Spread};
use wpool::wire::objects::{Answer, Call, Note};
use wpool::wire::report::{TaskParts, put_task, read_report, read_task};
use wpool::wire::run::{Items, put_items, read_values};

/// A function that panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 8] = [
    ("from_worker", from_worker),
    ("from_host", from_host),
    ("slicer", slicer),
    ("values", values),
    ("limits", limits),
    ("cache", cache),
    ("description", description),
    ("texts", texts),
];

/// Cuts bytes into frames, fed in steps; each frame is passed on whole.
fn frames(data: &[u8], mut each: impl FnMut(&Head, Bytes)) {
    let Some(([first, second], bytes)) = data.split_first_chunk::<2>() else { return };
    let limit = u32::from(*first) * 128;
    let mut decoder = Decoder::new(limit);
    let mut fed = 0;
    for part in bytes.chunks(usize::from(*second) + 1) {
        decoder.buffer().extend_from_slice(part);
        fed += part.len();
        loop {
            match decoder.next_frame() {
                Ok(Some((head, payload))) => {
                    assert!(head.length <= limit && payload.len() == head.length as usize);
                    let mut again = Vec::new();
                    head.put(&mut again);
                    assert_eq!(again.len(), HEADER);
                    each(&head, payload);
                }
                Ok(None) => break,
                Err(_not_frames) => return,
            }
        }
        assert!(decoder.buffer().len() <= fed);
        assert!((1..=HEADER + limit as usize + (256 << 10)).contains(&decoder.wanted()));
    }
}

/// Frames of a worker, as the host reads them.
pub fn from_worker(data: &[u8]) {
    frames(data, |head, payload| {
        let size = payload.len();
        match head.kind {
            FrameKind::Done => {
                let Some(report) = read_report(head, payload) else { return };
                let value = match report.result {
                    Ok(value) => value.bytes.len(),
                    Err(failure) => {
                        assert!(failure.message.len() <= 4096 + 3 && failure.detail.frames.len() <= 16);
                        let value = failure.detail.value.as_ref().map_or("", |value| value.get());
                        assert!(!value.contains(|character| character < ' '));
                        value.len()
                    }
                };
                assert!(value + report.captured.stdout.len() + report.captured.stderr.len() <= size);
            }
            FrameKind::Values => {
                let Some(mut values) = read_values(head, payload) else { return };
                let (count, bytes) = (values.len(), values.bytes.clone());
                assert!(count * 8 + bytes.len() <= size);
                let front = values.split_front(usize::from(head.attempt));
                assert_eq!([&front.bytes[..], &values.bytes[..]].concat(), bytes);
                assert_eq!(front.len() + values.len(), count);
            }
            // What it says but for itself is JSON; that the reader takes it or
            // not is all there is to it.
            FrameKind::Ready => drop(serde_json::from_slice::<Ready>(&payload)),
            FrameKind::Refused => drop(serde_json::from_slice::<Refusal>(&payload)),
            FrameKind::Compiled => drop(serde_json::from_slice::<Compiled>(&payload)),
            FrameKind::Call => {
                let Some(call) = Call::read(&payload) else { return };
                assert_eq!(call.to_bytes(), payload);
            }
            FrameKind::Note => {
                let Some(note) = Note::read(&payload) else { return };
                assert_eq!(note.to_bytes(), payload);
            }
            FrameKind::Returned
            | FrameKind::Spent
            | FrameKind::Snapshot
            | FrameKind::Setup
            | FrameKind::Task
            | FrameKind::Run
            | FrameKind::Answer => {}
        }
    });
}

/// Frames of the host, as a worker reads them.
pub fn from_host(data: &[u8]) {
    frames(data, |head, payload| match head.kind {
        FrameKind::Task => {
            let Some(parts) = read_task(head, &payload) else { return };
            assert!(parts.item.len() + parts.path.map_or(0, str::len) <= payload.len());
            let mut again = Vec::new();
            put_task(&mut again, *head, &parts);
            again.extend_from_slice(parts.item);
            let read = Head { length: (again.len() - HEADER) as u32, flags: again[1], ..*head };
            // A path that is no UTF-8 is none.
            let same = read_task(&read, &again[HEADER..]).expect("a task");
            assert_eq!(TaskParts { path: parts.path.or(same.path), ..same }, parts);
        }
        FrameKind::Run => {
            let Some(items) = Items::read(&payload) else { return };
            let items: Vec<&[u8]> = items.collect();
            let bytes = items.concat();
            assert!(items.len() * 4 + bytes.len() <= payload.len());
            let mut end = 0;
            let ends: Vec<u32> = items
                .iter()
                .map(|item| {
                    end += item.len() as u32;
                    end
                })
                .collect();
            let mut again = Vec::new();
            put_items(&mut again, *head, 0, &ends, &bytes);
            assert!(Items::read(&again[HEADER..]).expect("items").eq(items));
        }
        FrameKind::Setup => drop(serde_json::from_slice::<Setup>(&payload)),
        FrameKind::Answer => {
            let Some(answer) = Answer::read(&payload) else { return };
            assert_eq!(answer.to_bytes(), payload);
        }
        _ => {}
    });
}

/// Cuts input into items. The first byte chooses format and options.
pub fn slicer(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let formats = [Format::Json, Format::Jsonl, Format::Lines, Format::Csv, Format::Records];
    let format = formats[usize::from(choice & 7) % formats.len()];
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text).expect("room");
    let source = Source {
        format: Some(format),
        nul: choice & 8 != 0,
        no_header: choice & 16 != 0,
        max_item: if choice & 32 != 0 { 16 } else { 1 << 20 },
        only: (choice & 64 != 0).then(|| "1-3".parse::<Only>().expect("a range")),
        keep_item: true,
        ..Source::new(file.path().to_str().expect("a path"))
    };
    let Ok(reader) = wpool::cli::input::open(&source) else { return };
    let (form, status, hint) = (reader.form(), reader.status(), reader.len_hint());
    let (mut count, mut bytes) = (0, 0);
    for item in reader {
        count += 1;
        let Ok(body) = item.body else { continue };
        assert!(body.bytes.len() as u64 <= source.max_item && body.form == form);
        if form != wpool::wire::message::ItemForm::Raw {
            assert_eq!(scan::check(&body.bytes), Ok(()), "{:?}", body.bytes);
        }
        bytes += body.bytes.len();
    }
    assert!(status.ended() && count <= text.len() as u64 + 1);
    // A row of a table has its columns' names in it.
    assert!(format == Format::Csv || bytes <= text.len());
    if let (Some(hint), None) = (hint, status.take_error()) {
        assert_eq!(count, hint);
    }
}

fn field(name: &str, ty: Ty) -> Field {
    Field { name: name.to_owned(), ty }
}

fn types() -> Vec<Ty> {
    let list = |ty| Ty::List(Box::new(ty));
    let names = || vec!["a".to_owned(), "b-c".to_owned()];
    let case = |name: &str, ty| Case { name: name.to_owned(), ty };
    vec![
        Ty::Bool,
        Ty::U8,
        Ty::S64,
        Ty::U64,
        Ty::I32,
        Ty::F32,
        Ty::F64,
        Ty::Char,
        Ty::String,
        list(Ty::U8),
        list(Ty::F64),
        list(Ty::String),
        Ty::Tuple(vec![Ty::S8, Ty::String]),
        Ty::Enum(names()),
        Ty::Flags(names()),
        Ty::Option(Box::new(Ty::Option(Box::new(Ty::S16)))),
        Ty::Result(Some(Box::new(Ty::U32)), None),
        Ty::Variant(vec![case("x", None), case("y", Some(list(Ty::S32)))]),
        Ty::Record(vec![field("some-name", Ty::U16), field("b", Ty::Option(Box::new(Ty::String)))]),
        list(Ty::Record(vec![field("a", list(Ty::Tuple(vec![Ty::F32])))])),
    ]
}

/// JSON to values and back; and JSON of any type. The first byte chooses.
pub fn values(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let types = types();
    let ty = &types[usize::from(*choice) % types.len()];
    let bytes = [BytesAs::Array, BytesAs::Base64][usize::from(*choice >> 7)];
    let packed = json::pack(text, ty, false);
    let read = json::read(text, ty);
    assert!(packed.is_none() || read.is_ok());
    if let Ok(value) = read {
        let mut by_reader = Packed::default();
        by_reader.push(&value, ty).expect("what was read is of its type");
        assert!(packed.is_none_or(|packed| packed == by_reader));
        let mut written = Vec::new();
        json::write(&value, ty, bytes, &mut written).expect("what was read can be written");
        assert_eq!(scan::check(&written), Ok(()));
        let again = json::read(&written, ty).expect("what was written can be read");
        let mut same = Vec::new();
        json::write(&again, ty, bytes, &mut same).expect("written");
        assert_eq!(same, written);
    }
    let mut line = b"before".to_vec();
    match json::compact(text, &mut line) {
        Err(_) => {
            assert_eq!(line, b"before");
            assert!(json::validate(text).is_err());
        }
        Ok(()) => {
            let line = &line[b"before".len()..];
            assert!(line.len() <= text.len() && !line.iter().any(|byte| *byte < b' '));
            assert_eq!((json::validate(text), scan::check(text)), (Ok(()), Ok(())));
            assert_eq!(json::validate(line), Ok(()));
            let text: serde_json::Value = serde_json::from_slice(text).expect("JSON");
            assert_eq!(serde_json::from_slice::<serde_json::Value>(line).expect("JSON"), text);
        }
    }
    // Whatever a string is, it does not get longer.
    if let Ok(item) = json::item_text(text) {
        assert!(item.len() <= text.len());
    }
}

/// Durations, sizes, counts and indices, as options give them.
pub fn limits(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(size) = units::size(text) {
        assert_eq!(units::size(&units::show_size(size)), Ok(size));
        assert!(!units::about_size(size).is_empty());
    }
    if let Ok(duration) = units::duration(text) {
        assert_eq!(units::duration(&units::show_duration(duration)), Ok(duration));
        assert!(std::time::Instant::now().checked_add(duration).is_some());
    }
    drop((units::size_or_zero(text), units::payload(text), units::stack(text), units::size_or_auto(text)));
    drop((units::duration_or_zero(text), units::duration_or_none(text), units::count(text)));
    drop((units::small_count(text), units::count_or_auto(text)));
    if let Ok(count) = units::processes(text) {
        assert!(count.get() <= 4096);
    }
    if let Ok(only) = text.parse::<Only>() {
        assert!(only.contains(only.needed()) && only.contains(only.last()));
        // The very last index is behind every count.
        assert!(only.count_of(u64::MAX) > 0 || only.needed() == u64::MAX);
    }
}

/// A cache with one entry.
struct Kept {
    folder: tempfile::TempDir,
    cache: Cache,
    key: Key,
    description: Description,
}

/// The artifact that is kept.
const ARTIFACT: &[u8] = b"no code, but nobody looks";

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path().join("modules")).expect("a cache");
        let settings = EngineSettings {
            features: Features::default(),
            epochs: false,
            fuel: false,
            stack: 1 << 19,
            instrument: false,
        };
        let key = Key::new(&Module::from_bytes("m.wasm", b"(module)").expect("a module"), &settings);
        let description = Description { command: true, memory_minimum: 1 << 16, ..Description::default() };
        let kept = Self { folder, cache, key, description };
        kept.store();
        kept
    }

    fn store(&self) {
        let mut artifact = tempfile::tempfile().expect("a file");
        artifact.write_all(ARTIFACT).expect("room");
        self.cache.store(&self.key, &mut artifact, &self.description).expect("stored");
    }

    /// What is found is what was kept, or nothing.
    fn look(&self) -> bool {
        let Some((mut file, description)) = self.cache.lookup(&self.key) else { return false };
        let mut bytes = Vec::new();
        file.rewind().expect("a file");
        file.read_to_end(&mut bytes).expect("a file");
        assert_eq!((bytes.as_slice(), &description), (ARTIFACT, &self.description));
        true
    }
}

thread_local! {
    static KEPT: Kept = Kept::new();
}

/// Puts bytes in place of a cache's files, or beside them. The first byte
/// chooses which.
pub fn cache(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    KEPT.with(|kept| {
        let folder = kept.folder.path().join("modules");
        let names = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let (json, code): (Vec<_>, Vec<_>) = names
            .filter(|path| path.extension().is_some())
            .partition(|path| path.extension().is_some_and(|end| end == "json"));
        let name = String::from_utf8_lossy(bytes).replace(['/', '\0'], "");
        let beside = folder.join(format!(".{}", name.chars().take(40).collect::<String>()));
        let path = match choice & 3 {
            0 => &json[0],
            1 => &code[0],
            _ => &beside,
        };
        let before = std::fs::read(path).unwrap_or_default();
        let mut now = before.clone();
        match choice >> 4 {
            // Whole, appended, or over a part.
            0..=4 => now = bytes.to_vec(),
            5..=9 => now.extend_from_slice(bytes),
            _ => {
                let at = usize::from(*choice) % (now.len() + 1);
                for (old, new) in now[at..].iter_mut().zip(bytes) {
                    *old = *new;
                }
            }
        }
        let mode = if choice & 3 == 3 { 0o644 } else { 0o600 };
        let opened = File::options().write(true).create(true).truncate(true).mode(mode).open(path);
        let Ok(mut file) = opened else { return };
        file.write_all(&now).expect("room");
        let found = kept.look();
        let touched = path != &beside && now != before;
        // JSON may say the same in other words, the code cannot.
        assert!(!found || !touched || choice & 3 == 0);
        assert!(found || touched, "what lies beside an entry does not touch it");
        kept.cache.remove(&kept.key);
        // The secret's name is not one that is made here.
        drop(std::fs::remove_file(&beside));
        kept.store();
        assert!(kept.look());
    });
}

/// What a compile worker says of a module, and what the host makes of it.
pub fn description(data: &[u8]) {
    let Ok(Compiled { description }) = serde_json::from_slice(data) else { return };
    let text = serde_json::to_vec(&description).expect("JSON");
    assert_eq!(serde_json::from_slice::<Description>(&text).expect("the same"), description);
    for function in &description.functions {
        let named = function.path();
        let shown = schema::item(&function.ty).to_string();
        assert_eq!(scan::check(shown.as_bytes()), Ok(()));
        for invoke in [None, Some("run"), Some(named.as_str())] {
            for spread in [Spread::One, Spread::Star] {
                let memory = 1 << 29;
                let choice = Choice { invoke, abi: None, spread, with: &[], stub_imports: false, memory };
                if let Err(error) = choose(&description, &choice) {
                    let text = error.to_string();
                    let raw = text.chars().find(|character| *character != '\n' && escape::is_unsafe(*character));
                    assert_eq!(raw, None, "{text}");
                }
            }
        }
    }
}

/// Guest text on its way to people, and placeholders.
pub fn texts(data: &[u8]) {
    let harmless = |text: &str| !text.chars().any(|character| character != '\n' && escape::is_unsafe(character));
    let escaped = escape::escape(data, 64);
    assert!(harmless(&escaped) && !escaped.contains('\n') && escaped.len() < 64 * 10 + 100, "{escaped}");
    let lines = escape::escape_lines(data, "  | ", 64);
    assert!(harmless(&lines));
    assert!(lines.lines().skip(1).all(|line| line.starts_with("  | ")), "{lines:?}");
    let text = String::from_utf8_lossy(data);
    assert!(harmless(&escape::name(&text)));
    let template = Template::parse(&text);
    for item in [Content::Json(data), Content::Raw(data)] {
        let values = Values { index: 7, item, id: Some("\"x\""), file: None };
        if let Ok(rendered) = template.render(&values) {
            assert!(rendered.len() <= (text.len() + 20) * (text.len() + 1));
        }
    }
    let mut scanner = scan::Scanner::default();
    let whole = scan::check_with(&mut scanner, data);
    assert_eq!(whole, scan::check(data));
    // serde_json says the same of what is not nested too deeply for it.
    let reference = serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok();
    assert_eq!(whole.is_ok(), reference && std::str::from_utf8(data).is_ok());
}
