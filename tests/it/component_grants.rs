//! What components may do with directories: the calls of WASI 0.2 themselves,
//! without the adapter that programs of preview 1 bring.

use std::fmt::Write as _;

use crate::command::Bench;
use crate::grants::{assert_outside_is_as_it_was, bench_of_links};

/// The interface as far as it is called.
const IMPORTS: &str = r#"
    (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
    (import "wasi:io/streams@0.2.0" (instance $streams (export "output-stream" (type (sub resource)))))
    (alias export $streams "output-stream" (type $output))
    (import "wasi:clocks/wall-clock@0.2.0" (instance $clock
        (type $d (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type (eq $d)))))
    (alias export $clock "datetime" (type $datetime))
    (import "wasi:filesystem/types@0.2.0" (instance $fs
        (alias outer 1 $output (type $o)) (export "output-stream" (type $stream (eq $o)))
        (alias outer 1 $datetime (type $t)) (export "datetime" (type $time (eq $t)))
        (export "descriptor" (type $descriptor (sub resource)))
        (type $f (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
            "mutate-directory"))
        (export "descriptor-flags" (type $flags (eq $f)))
        (type $p (flags "symlink-follow")) (export "path-flags" (type $path (eq $p)))
        (type $q (flags "create" "directory" "exclusive" "truncate")) (export "open-flags" (type $open (eq $q)))
        (type $n (variant (case "no-change") (case "now") (case "timestamp" $time)))
        (export "new-timestamp" (type $new (eq $n)))
        (type $e (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
            "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory"
            "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock"
            "insufficient-memory" "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported"
            "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek"
            "text-file-busy" "cross-device"))
        (export "error-code" (type $code (eq $e)))
        METHODS))
    (alias export $fs "descriptor" (type $descriptor))
    (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
        (alias outer 1 $descriptor (type $d)) (export "descriptor" (type $e (eq $d)))
        (export "get-directories" (func (result (list (tuple (own $e) string)))))))
    (core module $libc
        (memory (export "m") 2)
        (global $top (mut i32) (i32.const 8192))
        (func (export "r") (param $old i32) (param $had i32) (param $align i32) (param $length i32) (result i32)
            (global.get $top)
            (global.set $top (i32.and (i32.const -8)
                (i32.add (i32.const 7) (i32.add (global.get $top) (local.get $length)))))))
    (core instance $libc (instantiate $libc))"#;

/// Methods of a descriptor: parameters, what a success gives, the core types
/// of the parameters, and where the error is in the result.
#[rustfmt::skip]
const METHODS: &[(&str, &str, &str, &str, u32)] = &[
    ("open-at", r#"(param "path-flags" $path) (param "path" string) (param "open-flags" $open) (param "flags" $flags)"#,
        "(own $descriptor)", "iiiii", 4),
    ("create-directory-at", r#"(param "path" string)"#, "", "ii", 1),
    ("remove-directory-at", r#"(param "path" string)"#, "", "ii", 1),
    ("unlink-file-at", r#"(param "path" string)"#, "", "ii", 1),
    ("readlink-at", r#"(param "path" string)"#, "string", "ii", 4),
    ("symlink-at", r#"(param "old-path" string) (param "new-path" string)"#, "", "iiii", 1),
    ("rename-at", r#"(param "old-path" string) (param "new-descriptor" (borrow $descriptor)) (param "new-path" string)"#,
        "", "iiiii", 1),
    ("link-at", r#"(param "old-path-flags" $path) (param "old-path" string)
        (param "new-descriptor" (borrow $descriptor)) (param "new-path" string)"#, "", "iiiiii", 1),
    ("set-times-at", r#"(param "path-flags" $path) (param "path" string)
        (param "data-access-timestamp" $new) (param "data-modification-timestamp" $new)"#, "", "iiiiliili", 1),
    ("set-times", r#"(param "data-access-timestamp" $new) (param "data-modification-timestamp" $new)"#, "", "iliili", 1),
    ("set-size", r#"(param "size" u64)"#, "", "l", 1),
    ("write", r#"(param "buffer" (list u8)) (param "offset" u64)"#, "u64", "iil", 8),
    ("write-via-stream", r#"(param "offset" u64)"#, "(own $stream)", "l", 4),
    ("append-via-stream", "", "(own $stream)", "", 4),
];

/// Strings at 512, 32 bytes each.
const NAMES: [&str; 14] = [
    "old",
    "new",
    "../x",
    "/etc/passwd",
    "out",
    "out/",
    "folder",
    "folder/passwd",
    "proc/environ",
    "dots/x",
    "loop",
    "dangling",
    "..",
    "dir",
];

fn core_types(kinds: &str) -> String {
    kinds.chars().map(|kind| if kind == 'l' { " i64" } else { " i32" }).collect()
}

/// A call from its words: `dir` is the granted directory, `file` the file
/// `old` opened for reading, a name its address and length, `now` and `keep`
/// times; numbers are of the method's own types.
fn call(step: &str) -> (String, u32) {
    let (name, words) = step.split_once(' ').unwrap_or((step, ""));
    let (_, _, _, kinds, error) = METHODS.iter().find(|method| method.0 == name).unwrap();
    let mut kinds = kinds.chars();
    let mut arguments = String::new();
    for (position, word) in words.split_whitespace().enumerate() {
        let place = NAMES.iter().position(|name| *name == word);
        let text = match word {
            "@dir" => "(local.get $dir)".to_owned(),
            "@file" => "(local.get $file)".to_owned(),
            "now" => "(i32.const 1) (i64.const 0) (i32.const 0)".to_owned(),
            "keep" => "(i32.const 0) (i64.const 0) (i32.const 0)".to_owned(),
            word => match (place, kinds.clone().next()) {
                (Some(place), _) => format!("(i32.const {}) (i32.const {})", 512 + 32 * place, word.len()),
                (None, Some('l')) => format!("(i64.const {word})"),
                (None, _) => format!("(i32.const {word})"),
            },
        };
        // The first word is the descriptor itself.
        let taken = if position == 0 { 0 } else { text.matches(".const").count().max(1) };
        kinds.by_ref().take(taken).for_each(drop);
        arguments.push_str(&text);
    }
    (format!("(call ${name} {arguments} (i32.const 16))"), *error)
}

/// A component whose `run(k)` makes step k: 0 where it works, else the error's
/// number and 1.
fn component(steps: &[&str]) -> String {
    let (mut methods, mut lowered, mut exported, mut imported) = Default::default();
    let all: &mut [&mut String; 4] = &mut [&mut methods, &mut lowered, &mut exported, &mut imported];
    for (name, params, ok, kinds, _) in METHODS {
        let _ = write!(
            all[0],
            r#"(export "[method]descriptor.{name}" (func (param "self" (borrow $descriptor)) {params}
                (result (result {ok} (error $code)))))"#
        );
        let _ = write!(
            all[1],
            r#"(core func ${name} (canon lower (func $fs "[method]descriptor.{name}")
                (memory $libc "m") (realloc (func $libc "r"))))"#
        );
        let _ = write!(all[2], r#"(export "{name}" (func ${name}))"#);
        let _ = write!(all[3], r#"(import "fs" "{name}" (func ${name} (param i32{} i32)))"#, core_types(kinds));
    }
    let mut body = String::new();
    for (number, step) in steps.iter().enumerate() {
        let (call, error) = call(step);
        let _ = writeln!(
            body,
            "(if (i32.eq (local.get $k) (i32.const {number})) (then {call}
                (return (if (result i32) (i32.load8_u (i32.const 16))
                    (then (i32.add (i32.const 1) (i32.load8_u (i32.const {}))))
                    (else (i32.const 0))))))",
            16 + error
        );
    }
    let mut data = String::new();
    for (place, name) in NAMES.iter().enumerate() {
        let _ = write!(data, "(data (i32.const {}) {name:?})", 512 + 32 * place);
    }
    let imports = IMPORTS.replace("METHODS", &methods);
    format!(
        r#"(component {imports} {lowered}
        (core func $dirs (canon lower (func $preopens "get-directories") (memory $libc "m") (realloc (func $libc "r"))))
        (core module $m
            (import "libc" "m" (memory 2))
            (import "fs" "dirs" (func $dirs (param i32))) {imported} {data}
            (func (export "run") (param $k i32) (result i32) (local $dir i32) (local $file i32)
                (call $dirs (i32.const 16))
                (local.set $dir (i32.load (i32.load (i32.const 16))))
                (call $open-at (local.get $dir) (i32.const 0) (i32.const 512) (i32.const 3) (i32.const 0) (i32.const 1)
                    (i32.const 16))
                (if (i32.load8_u (i32.const 16)) (then unreachable))
                (local.set $file (i32.load (i32.const 20)))
                {body}
                unreachable))
        (core instance $i (instantiate $m (with "libc" (instance $libc))
            (with "fs" (instance (export "dirs" (func $dirs)) {exported}))))
        (func (export "run") (param "k" u32) (result u32) (canon lift (core func $i "run"))))"#
    )
}

/// Ways to change what is read-only, or to leave it. Flags of `open-at`: 1
/// follows links; 1 creates, 2 wants a directory, 8 truncates; 1 reads, 2
/// writes, 32 changes the directory.
const ESCAPES: &[&str] = &[
    "open-at @dir 0 old 0 2",
    "open-at @dir 0 old 0 3",
    "open-at @dir 0 old 8 1",
    "open-at @dir 0 old 8 2",
    "open-at @dir 0 new 1 1",
    "open-at @dir 0 new 1 2",
    "open-at @dir 0 new 5 3",
    "open-at @dir 1 ../x 0 1",
    "open-at @dir 1 /etc/passwd 0 1",
    "open-at @dir 1 .. 2 1",
    "open-at @dir 1 out 0 1",
    "open-at @dir 1 out/ 0 1",
    "open-at @dir 0 out 0 1",
    "open-at @dir 1 folder 2 1",
    "open-at @dir 1 folder/passwd 0 1",
    "open-at @dir 1 proc/environ 0 1",
    "open-at @dir 1 dots/x 0 1",
    "open-at @dir 1 loop 0 1",
    "open-at @dir 1 dangling 1 3",
    "create-directory-at @dir dir",
    "create-directory-at @dir folder/passwd",
    "remove-directory-at @dir folder",
    "remove-directory-at @dir ..",
    "unlink-file-at @dir old",
    "unlink-file-at @dir out",
    "unlink-file-at @dir out/",
    "unlink-file-at @dir ../x",
    "unlink-file-at @dir folder/passwd",
    "readlink-at @dir folder/passwd",
    "readlink-at @dir ../x",
    "symlink-at @dir old new",
    "symlink-at @dir /etc/passwd new",
    "symlink-at @dir ../x new",
    "symlink-at @dir old folder/passwd",
    "rename-at @dir old @dir new",
    "rename-at @dir old @dir ../x",
    "rename-at @dir ../x @dir new",
    "rename-at @dir out @dir new",
    "rename-at @dir out/ @dir new",
    "rename-at @dir folder/passwd @dir new",
    "link-at @dir 0 old @dir new",
    "link-at @dir 1 out @dir new",
    "link-at @dir 0 ../x @dir new",
    "link-at @dir 0 folder/passwd @dir new",
    "link-at @dir 0 old @dir ../x",
    "set-times-at @dir 0 old now now",
    "set-times-at @dir 1 out now now",
    "set-times-at @dir 1 ../x now keep",
    "set-times @dir now now",
    "set-times @file now now",
    "set-size @file 0",
    "set-size @file 1000000",
    "set-size @dir 0",
    "write @file old 0",
    "write @dir old 0",
    "write-via-stream @file 0",
    "append-via-stream @file",
    "append-via-stream @dir",
];

/// What each step gave, each in a task of its own.
fn errors(bench: &Bench, steps: &[&str], options: &[&str]) -> Vec<u32> {
    std::fs::write(bench.path("steps.wat"), component(steps)).unwrap();
    let items: Vec<usize> = (0..steps.len()).collect();
    let items = serde_json::to_string(&items).unwrap();
    let ran = bench.run(&[&["run", "steps.wat", "--map", &items, "-j", "1"], options].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn names(bench: &Bench) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(bench.path("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_read_only_for_components_too() {
    let bench = bench_of_links();
    let before = names(&bench);
    let times = std::fs::metadata(bench.path("data/old")).unwrap().modified().unwrap();
    for (step, error) in ESCAPES.iter().zip(errors(&bench, ESCAPES, &["--dir", "data"])) {
        assert_ne!(error, 0, "{step}");
    }
    assert_eq!(names(&bench), before);
    assert_eq!(bench.read("data/old"), "old text");
    assert_eq!(std::fs::metadata(bench.path("data/old")).unwrap().modified().unwrap(), times);
    assert_outside_is_as_it_was(&bench);
}

#[test]
fn a_writable_directory_is_that_directory_only() {
    let bench = bench_of_links();
    // Those that leave it; the others may work here.
    let leaving = |step: &&&str| {
        ["../x", "/etc/passwd", "folder/passwd", "proc/environ", "dots/x", "dangling", " .. "]
            .iter()
            .any(|name| step.contains(name))
            || step.starts_with("open-at @dir 1 out")
            || step.starts_with("open-at @dir 1 folder")
    };
    // A link's text may be anything relative; to follow it is what fails.
    let steps: Vec<&str> =
        ESCAPES.iter().filter(leaving).filter(|step| !step.starts_with("symlink-at @dir ../x")).copied().collect();
    assert!(steps.len() > 20, "{}", steps.len());
    for (step, error) in steps.iter().zip(errors(&bench, &steps, &["--dir", "data::rw"])) {
        assert_ne!(error, 0, "{step}");
    }
    assert_outside_is_as_it_was(&bench);
    // What does not leave it works, up to the limit.
    let works = ["create-directory-at @dir dir", "link-at @dir 0 old @dir new", "unlink-file-at @dir new"];
    assert_eq!(errors(&bench, &works, &["--dir", "data::rw"]), [0, 0, 0]);
    // A file that is open for reading is so there, too.
    assert_eq!(errors(&bench, &["write @file old 0"], &["--dir", "data::rw"]), [4]);
}
