//! Readers under any split of their input, and faults in every place.

use std::fs;
use std::io::{self, Read};

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::blocks::{BLOCK, Blocks};
use super::csv::{Dialect, ExtraColumns, Table, check_columns};
use super::json::JsonArray;
use super::lines::{JsonLines, Lines};
use super::reader::{Pieces, Want};
use super::{Format, Reader, SharedStatus, Source, open};
use crate::error::Error;
use crate::outcome::{Failure, Kind};
use crate::pool::item::Item;
use crate::value::ty::{Field, Ty};

const MAX: u64 = 1 << 20;

/// Gives a text in pieces of the given sizes, over and over.
struct Split {
    text: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Split {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()].clamp(1, out.len());
        self.turn += 1;
        let count = size.min(self.text.len() - self.at);
        out[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn blocks(text: &[u8], sizes: &[usize]) -> Blocks {
    let reader = Split { text: text.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 };
    Blocks::new(Box::new(reader), SharedStatus::default()).without_mark()
}

type Bodies = Vec<Result<String, String>>;

/// All bodies, and the error that ended them.
fn drain(mut pieces: impl Pieces) -> (Bodies, Option<String>) {
    let mut bodies = Vec::new();
    while let Some(piece) = pieces.next(Want::Item) {
        match piece {
            Err(error) => return (bodies, Some(error.to_string())),
            Ok(piece) => {
                bodies.push(piece.body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|failure| {
                    assert_eq!(failure.kind, Kind::BadInput);
                    failure.message
                }))
            }
        }
    }
    (bodies, None)
}

fn array(text: &[u8], sizes: &[usize]) -> (Bodies, Option<String>) {
    drain(JsonArray::new(blocks(text, sizes), "in".to_owned(), MAX))
}

fn json_lines(text: &[u8], sizes: &[usize]) -> (Bodies, Option<String>) {
    drain(JsonLines::new(blocks(text, sizes), "in".to_owned(), MAX))
}

fn table(text: &[u8], sizes: &[usize], source: &Source) -> (Bodies, Option<String>) {
    match Table::open(blocks(text, sizes), "in".to_owned(), Dialect::of(source), MAX) {
        Ok(table) => drain(table),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..40_usize, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_array_is_cut_as_serde_json_cuts_it(
        values in prop::collection::vec(value(), 0..8), pretty in any::<bool>(), sizes in sizes(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) }.unwrap();
        let expected: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
        let expected: Bodies = expected.iter().map(|raw| Ok(raw.get().to_owned())).collect();
        prop_assert_eq!(array(text.as_bytes(), &sizes), (expected, None));
    }

    #[test]
    fn a_damaged_array_is_refused_alike_under_any_split(
        values in prop::collection::vec(value(), 0..4), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        sizes in sizes(),
    ) {
        let mut text = serde_json::to_vec(&values).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        let whole = array(&text, &[1 << 20]);
        let is_array = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&text).is_ok()
            && std::str::from_utf8(&text).is_ok();
        prop_assert_eq!(whole.1.is_none(), is_array, "{:?}", String::from_utf8_lossy(&text));
        let split = array(&text, &sizes);
        prop_assert_eq!(split.1.is_some(), whole.1.is_some());
        prop_assert_eq!(split.0, whole.0);
    }

    #[test]
    fn json_lines_are_the_same_under_any_split(
        values in prop::collection::vec(value(), 0..8), end in prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n \n")],
        sizes in sizes(),
    ) {
        let texts: Vec<String> = values.iter().map(|value| value.to_string()).collect();
        let expected: Bodies = texts.iter().cloned().map(Ok).collect();
        prop_assert_eq!(json_lines(texts.join(end).as_bytes(), &sizes), (expected, None));
    }

    #[test]
    fn raw_lines_are_the_same_under_any_split(lines in prop::collection::vec("[a-c\r]{0,60}", 0..8), sizes in sizes()) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let got = drain(Lines::new(blocks(text.as_bytes(), &sizes), "in".to_owned(), b'\n', MAX));
        prop_assert_eq!(got, (lines.into_iter().map(Ok).collect(), None));
    }

    #[test]
    fn rows_are_the_same_under_any_split(
        rows in prop::collection::vec(prop::collection::vec("[a,\"\n ]{0,9}", 2..3), 0..6), crlf in any::<bool>(),
        sizes in sizes(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        let text: String = std::iter::once(format!("x,y{end}"))
            .chain(rows.iter().map(|row| format!("{}{end}", row.iter().map(quoted).collect::<Vec<_>>().join(","))))
            .collect();
        let expected = rows.iter().map(|row| Ok(format!("{{\"x\":{},\"y\":{}}}",
            serde_json::to_string(&row[0]).unwrap(), serde_json::to_string(&row[1]).unwrap()))).collect();
        prop_assert_eq!(table(text.as_bytes(), &sizes, &Source::new("-")), (expected, None));
    }
}

fn ok(texts: &[&str]) -> Bodies {
    texts.iter().map(|text| Ok((*text).to_owned())).collect()
}

#[test]
fn faults_of_an_array_have_line_and_column_and_what_was_whole_stands() {
    let (bodies, error) = array(b"[1,\n {\"a\":2},\n {\"b\" 3}]", &[7]);
    assert_eq!(bodies, ok(&["1", "{\"a\":2}"]));
    assert_eq!(error.unwrap(), "in: line 3, column 7: expected ':'");
    let (bodies, error) = array(b"[1,\"a\xff\"]", &[100]);
    assert_eq!((bodies, error.unwrap().as_str()), (ok(&["1"]), "in: line 1, column 6: not UTF-8"));
    assert_eq!(array(b"[1,2", &[3]).1.unwrap(), "in: line 1, column 5: the array ends too early");
    assert!(array(b"[1] [2]", &[3]).1.unwrap().contains("--input jsonl"));
    assert!(array(b"{\"a\":1}", &[3]).1.unwrap().starts_with("in: line 1, column 1: expected one JSON array"));
    assert!(array(b"", &[3]).1.is_some());
}

#[test]
fn an_empty_array_and_a_byte_order_mark_are_fine() {
    assert_eq!(array(b" [ ] ", &[1]), (ok(&[]), None));
    assert_eq!(array("\u{feff}[1 , \"\u{feff}\"]".as_bytes(), &[1]), (ok(&["1", "\"\u{feff}\""]), None));
    assert_eq!(json_lines("\u{feff}1\n2".as_bytes(), &[2]), (ok(&["1", "2"]), None));
}

#[test]
fn a_deep_element_reaches_whoever_reads_it() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(array(format!("[{deep}]").as_bytes(), &[BLOCK]), (vec![Ok(deep)], None));
}

#[test]
fn a_bad_line_fails_alone_and_is_placed() {
    let (bodies, error) = json_lines(b"1\n\n {\"a\" 1}\n\"x\xff\"\n3\n", &[5]);
    let expected = vec![
        Ok("1".to_owned()),
        Err("not JSON: line 3, column 7: expected ':'".to_owned()),
        Err("not JSON: line 4, column 3: not UTF-8".to_owned()),
        Ok("3".to_owned()),
    ];
    assert_eq!((bodies, error), (expected, None));
}

#[test]
fn items_over_the_limit_fail_alone_in_bounded_memory() {
    /// 64 MiB of one string inside an array or a line, never in memory.
    struct Huge(u64);
    impl Read for Huge {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let text: &[u8] = match self.0 {
                0 => b"[\"",
                1..=255 => &[b'x'; BLOCK],
                256 => b"\",2]\n3\n",
                _ => return Ok(0),
            };
            self.0 += 1;
            out[..text.len()].copy_from_slice(text);
            Ok(text.len())
        }
    }
    let blocks = || Blocks::new(Box::new(Huge(0)), SharedStatus::default());
    let over = "item is larger than 1048576 bytes (raise it with --max-item)".to_owned();
    let (bodies, error) = drain(JsonArray::new(blocks(), "in".to_owned(), MAX));
    assert_eq!(bodies, vec![Err(over.clone()), Ok("2".to_owned())]);
    assert!(error.unwrap().contains("more text behind the array"));
    assert_eq!(drain(JsonLines::new(blocks(), "in".to_owned(), MAX)), (vec![Err(over), Ok("3".to_owned())], None));
}

#[test]
fn a_line_is_handed_over_before_the_next_is_written() {
    let (receive, mut send) = io::pipe().unwrap();
    let mut lines = JsonLines::new(Blocks::new(Box::new(receive), SharedStatus::default()), "in".to_owned(), MAX);
    for text in ["1", "[2]", "\"x\""] {
        io::Write::write_all(&mut send, format!("{text}\n").as_bytes()).unwrap();
        // Would wait for ever if it wanted more than the line.
        assert_eq!(lines.next(Want::Item).unwrap().unwrap().body.unwrap(), text);
    }
}

#[test]
fn lines_can_end_in_nul_and_keep_blank_ones() {
    let lines = |text: &[u8], separator| drain(Lines::new(blocks(text, &[2]), "in".to_owned(), separator, MAX)).0;
    assert_eq!(lines(b"a\r\n\nb", b'\n'), ok(&["a\r", "", "b"]));
    assert_eq!(lines(b"a\nb\0c\0", 0), ok(&["a\nb", "c"]));
}

#[test]
fn ragged_rows_and_other_encodings_fail_alone() {
    let (bodies, error) = table(b"a,b\n\n1,2\n3\n\n4,\"5\n5\"\nx,\xff\n6,7,8\n", &[3], &Source::new("-"));
    let expected = vec![
        Ok("{\"a\":\"1\",\"b\":\"2\"}".to_owned()),
        Err("line 4: row has 1 cells, the header has 2".to_owned()),
        Ok("{\"a\":\"4\",\"b\":\"5\\n5\"}".to_owned()),
        Err("line 8: cell 2 is not UTF-8".to_owned()),
        Err("line 9: row has 3 cells, the header has 2".to_owned()),
    ];
    assert_eq!((bodies, error), (expected, None));
}

#[test]
fn a_cell_that_is_never_closed_costs_no_memory() {
    let text = [b"a\n1\n\"".as_slice(), &vec![b'x'; 5 << 20]].concat();
    let (bodies, _) = table(&text, &[BLOCK], &Source::new("-"));
    assert_eq!(bodies[0], Ok("{\"a\":\"1\"}".to_owned()));
    assert!(bodies[1].as_ref().unwrap_err().contains("--max-item") && bodies.len() == 2);
}

#[test]
fn a_table_without_header_gives_arrays_and_takes_a_delimiter() {
    let source = Source { no_header: true, delimiter: Some(b';'), ..Source::new("-") };
    assert_eq!(table(b"1;\"a,b\"\n;\n", &[4], &source), (ok(&["[\"1\",\"a,b\"]", "[\"\",\"\"]"]), None));
    assert_eq!(table(b"a\tb\n1\t2\n", &[4], &Source::new("x.tsv")).0, ok(&["{\"a\":\"1\",\"b\":\"2\"}"]));
}

#[test]
fn a_header_with_one_name_twice_is_refused() {
    assert!(table(b"a,b,a\n", &[9], &Source::new("-")).1.unwrap().contains("two columns called \"a\""));
}

#[test]
fn columns_are_checked_against_fields_however_they_are_written() {
    let field = |name: &str, ty| Field { name: name.to_owned(), ty };
    let fields = [field("user-id", Ty::U32), field("note", Ty::Option(Box::new(Ty::String)))];
    let check = |headers: &[&str], extra| {
        let headers: Vec<String> = headers.iter().map(|name| (*name).to_owned()).collect();
        check_columns(&headers, &fields, extra).map_err(|error| error.to_string())
    };
    for name in ["user-id", "user_id", "userId", "User Id", "USER_ID"] {
        assert_eq!(check(&[name], ExtraColumns::Refuse), Ok(()), "{name}");
    }
    let unknown = check(&["user-id", "note2"], ExtraColumns::Refuse).unwrap_err();
    assert!(unknown.contains("\"note2\"") && unknown.contains("did you mean \"note\"?"), "{unknown}");
    assert_eq!(check(&["user-id", "nope"], ExtraColumns::Ignore), Ok(()));
    assert!(check(&["note"], ExtraColumns::Refuse).unwrap_err().contains("no column for \"user-id\""));
}

#[test]
fn records_give_back_items_with_their_form_index_and_input() {
    let text = br#"{"v":1,"run":{}}
{"v":1,"index":4,"kind":"trap","item":"{\"a\": 1}","form":"raw","input":"in.jsonl:5"}
{"v":1,"index":5,"kind":"ok","value":1}
{"v":1,"index":9,"kind":"exit","item":"a\nb","form":"raw","path":"x/y"}
{"v":1,"index":10,"kind":"exit","item":{"base64":"/wA="},"form":"raw"}
{"v":1,"index":11,"kind":"exit"}
"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("failed");
    fs::write(&path, text).unwrap();
    let mut reader = open(&Source { format: Some(Format::Records), ..Source::new(path.to_str().unwrap()) }).unwrap();
    let items: Vec<Item> = reader.by_ref().collect();
    let seen: Vec<(u64, &[u8])> =
        items.iter().map(|item| (item.index, item.body.as_ref().unwrap().bytes.as_ref())).collect();
    assert_eq!(seen, [(4, &b"{\"a\": 1}"[..]), (9, b"a\nb"), (10, b"\xff\0")]);
    assert_eq!(items[0].tag.as_ref().unwrap().input.as_deref(), Some("in.jsonl:5"));
    assert_eq!(items[1].body.as_ref().unwrap().path.as_deref(), Some("x/y"));
    assert!(reader.status().take_error().unwrap().to_string().contains("the record has no item"));
}

fn in_file(name: &str, text: &str, edit: impl FnOnce(&mut Source)) -> Result<(Vec<Item>, Reader), Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    let mut source = Source::new(path.to_str().unwrap());
    edit(&mut source);
    let mut reader = open(&source)?;
    Ok((reader.by_ref().collect(), reader))
}

fn bodies(items: &[Item]) -> Vec<(u64, String)> {
    let text = |body: &Result<crate::pool::item::Body, Failure>| match body {
        Ok(body) => String::from_utf8_lossy(&body.bytes).into_owned(),
        Err(failure) => format!("! {}", failure.message),
    };
    items.iter().map(|item| (item.index, text(&item.body))).collect()
}

#[test]
fn a_malformed_json_file_is_refused_before_its_first_item() {
    let error = in_file("a.json", "[1,2,\n oops]", |_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().ends_with("a.json: line 2, column 2: expected a value"), "{error}");
}

#[test]
fn a_json_file_tells_its_length_and_its_bytes() {
    let (items, reader) = in_file("a.json", "[1,2,3]", |_| {}).unwrap();
    assert_eq!(bodies(&items), [(0, "1".into()), (1, "2".into()), (2, "3".into())]);
    assert_eq!((reader.len_hint(), reader.format(), reader.status().bytes_in()), (Some(3), Some(Format::Json), 7));
    assert!(reader.status().ended() && reader.status().take_error().is_none());
    assert!(items.iter().all(|item| item.tag.is_none()));
}

#[test]
fn only_keeps_indices_and_stops_early() {
    let only = |source: &mut Source| source.only = Some("3,1".parse().unwrap());
    let (items, reader) = in_file("a.json", "[0,1,2,3,4]", only).unwrap();
    assert_eq!(bodies(&items), [(1, "1".into()), (3, "3".into())]);
    assert_eq!(reader.len_hint(), Some(2));
}

#[test]
fn tags_carry_what_was_asked_for() {
    let (items, _) = in_file("a.jsonl", "{\"id\":\"x\"}\n\n7\n", |source| {
        source.id_field = Some("id".to_owned());
        source.keep_item = true;
        source.name_lines = true;
    })
    .unwrap();
    let tag = items[0].tag.as_ref().unwrap();
    assert_eq!((tag.id.as_deref(), tag.item.as_deref()), (Some("\"x\""), Some(&b"{\"id\":\"x\"}"[..])));
    assert!(tag.input.as_ref().unwrap().ends_with("a.jsonl:1"));
    let tag = items[1].tag.as_ref().unwrap();
    assert!(tag.id.is_none() && tag.input.as_ref().unwrap().ends_with("a.jsonl:3"));
}

#[test]
fn inline_arrays_and_unknown_extensions() {
    let mut reader = open(&Source::new("[1, [2]]")).unwrap();
    assert_eq!((reader.len_hint(), reader.by_ref().count()), (Some(2), 2));
    assert_eq!(open(&Source::new("[1,")).unwrap_err().exit_code(), 4);
    assert_eq!(in_file("a.dat", "1", |_| {}).unwrap_err().exit_code(), 2);
    assert_eq!(open(&Source::new("/no/such.json")).unwrap_err().exit_code(), 4);
}

#[test]
fn a_stream_tells_its_format_by_its_first_byte() {
    let (mut send, path) = fifo();
    let reader = std::thread::spawn(move || {
        let mut reader = open(&Source::new(path)).unwrap();
        assert_eq!(reader.format(), None);
        reader.by_ref().map(|item| item.body.unwrap().bytes).collect::<Vec<_>>()
    });
    io::Write::write_all(&mut send().unwrap(), b" \n[1,{}]").unwrap();
    assert_eq!(reader.join().unwrap(), ["1", "{}"]);
}

/// A named pipe without an extension, and what opens its writing end.
fn fifo() -> (impl FnMut() -> io::Result<fs::File>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe").to_str().unwrap().to_owned();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let name = path.clone();
    let open = move || {
        let _kept = &dir;
        fs::OpenOptions::new().write(true).open(&name)
    };
    (open, path)
}

#[test]
fn files_come_sorted_with_their_paths_and_unreadable_ones_fail_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    for (name, text) in [("b.txt", "B"), ("a.txt", "A"), ("Z.txt", "too long"), ("sub/c.txt", "C"), (".h.txt", "H")] {
        fs::write(root.join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", root.join("x.txt")).unwrap();
    fs::create_dir(root.join("dir.txt")).unwrap();
    let read = |pattern: &str| {
        let src = root.join(pattern).to_str().unwrap().to_owned();
        let mut reader = open(&Source { format: Some(Format::Files), max_item: 3, ..Source::new(src) }).unwrap();
        let hint = reader.len_hint();
        let items: Vec<Item> = reader.by_ref().collect();
        assert_eq!(hint, Some(items.len() as u64));
        items
    };
    let items = read("*.txt");
    let got = bodies(&items);
    assert_eq!(got[0].1, "! item is larger than 3 bytes (raise it with --max-item)");
    assert_eq!((got[1].1.as_str(), got[2].1.as_str(), got.len()), ("A", "B", 4));
    assert!(got[3].1.starts_with("! cannot read ") && got[3].1.contains("No such file"), "{}", got[3].1);
    let deep = read("**/c.txt");
    assert_eq!(deep[0].body.as_ref().unwrap().path.as_deref(), Some("sub/c.txt"));
    assert!(deep[0].tag.as_ref().unwrap().input.as_ref().unwrap().ends_with("/sub/c.txt"));
}

#[test]
fn a_list_of_files_is_read_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let (one, list) = (dir.path().join("one"), dir.path().join("list"));
    fs::write(&one, "1").unwrap();
    fs::write(&list, format!("{}\0\0{}\0", one.display(), dir.path().display())).unwrap();
    let source = Source { format: Some(Format::Files), nul: true, ..Source::new(format!("@{}", list.display())) };
    let items: Vec<Item> = open(&source).unwrap().collect();
    let got = bodies(&items);
    assert_eq!(got[0].1, "1");
    assert!(got[1].1.contains("not a regular file") && got.len() == 2, "{got:?}");
}

#[test]
fn a_glob_without_a_match_is_an_error() {
    let error = open(&Source { format: Some(Format::Files), ..Source::new("/no/such/*.png") }).unwrap_err();
    assert_eq!(error.exit_code(), 4);
}
