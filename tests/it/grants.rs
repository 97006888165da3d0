//! What guests may do with directories, through the real binary: everything
//! that was granted works inside of the lock-down, everything else fails as
//! the guest's own error.

use std::fmt::Write as _;

use serde_json::Value;

use crate::command::Bench;

/// Vectors and buffers that the steps refer to; the strings are beside them.
const DATA: &str = r#"(memory (export "memory") 2) (data (i32.const 200) "hello")
    (data (i32.const 128) "\c8\00\00\00\05\00\00\00\2c\01\00\00\05\00\00\00")"#;

/// Functions of preview 1 and their parameters: `i` is 32 bits, `l` 64.
const CALLS: &[(&str, &str)] = &[
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
];

/// A module whose `run(k)` makes all steps and gives the error of step k.
fn module(steps: &[&str]) -> String {
    let mut text = String::from("(module\n");
    for (name, kinds) in CALLS {
        let types: String = kinds.chars().map(|kind| if kind == 'l' { " i64" } else { " i32" }).collect();
        let import =
            format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{types}) (result i32)))");
        text.push_str(&import);
    }
    text.push_str(DATA);
    for (at, name) in NAMES {
        let _ = write!(text, "(data (i32.const {at}) {name:?})");
    }
    text.push_str("(func (export \"run\") (param $wanted i32) (result i32) (local $error i32) (local $found i32)\n");
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(
            text,
            "(local.set $error {})
            (if (i32.eq (local.get $wanted) (i32.const {number})) (then (local.set $found (local.get $error))))",
            call(step)
        );
    }
    text.push_str("(local.get $found)))");
    text
}

/// Where the strings are.
const NAMES: &[(u32, &str)] = &[
    (16, "file"),
    (32, "dir"),
    (48, "link"),
    (64, "sym"),
    (80, "new"),
    (96, "old"),
    (112, "../x"),
    (512, "/etc/passwd"),
    (544, "out"),
    (560, "out/"),
    (576, "folder"),
    (592, "folder/passwd"),
    (624, "/proc/self/environ"),
    (656, "proc/environ"),
    (688, "dots/../../x"),
    (720, "new/"),
    (736, "loop"),
    (752, ".."),
    (768, "dangling"),
    (784, "dots/x"),
    (848, "dots/new"),
    (800, "old/"),
];

/// A call from its words: a string by its name (address and length), `opened`
/// the file that was opened last, `1` a number, `1L` one of 64 bits.
fn call(step: &str) -> String {
    let (name, rest) = step.split_once(' ').expect("arguments");
    let argument = |word: &str| match NAMES.iter().find(|(_, name)| *name == word) {
        Some((at, name)) => format!("(i32.const {at}) (i32.const {})", name.len()),
        None if word == "opened" => "(i32.load (i32.const 400))".to_owned(),
        None => match word.strip_suffix('L') {
            Some(number) => format!("(i64.const {number})"),
            None => format!("(i32.const {word})"),
        },
    };
    let arguments: Vec<String> = rest.split_whitespace().map(argument).collect();
    format!("(call ${name} {})", arguments.join(" "))
}

/// Everything that writes, in an order in which each can work. Descriptor 3 is
/// the granted directory; at 128 and 136 are vectors to write from and read
/// into, at 400 goes what a call gives back, at 1024 is a buffer.
const WRITES: &[&str] = &[
    "path_create_directory 3 dir",
    "path_open 3 0 file 9 536870911L 536870911L 1 400",
    "fd_write opened 128 1 404",
    "fd_close opened",
    "path_open 3 0 file 1 536870911L 536870911L 0 400",
    "fd_write opened 128 1 404",
    "fd_pwrite opened 128 1 5L 404",
    "fd_seek opened 0L 0 408",
    "fd_read opened 136 1 404",
    "fd_pread opened 136 1 2L 404",
    "fd_tell opened 408",
    "fd_advise opened 0L 5L 0",
    "fd_filestat_set_size opened 7L",
    "fd_filestat_set_times opened 1000000000L 1000000000L 5",
    "fd_sync opened",
    "fd_datasync opened",
    "fd_filestat_get opened 1024",
    "fd_fdstat_get opened 1024",
    "fd_fdstat_set_flags opened 1",
    "fd_close opened",
    // At its end.
    "path_open 3 0 file 0 536870911L 536870911L 1 400",
    "fd_write opened 128 1 404",
    "fd_close opened",
    "path_filestat_set_times 3 0 file 1000000000L 1000000000L 5",
    "path_link 3 0 file 3 link",
    "path_symlink file 3 sym",
    "path_readlink 3 sym 1024 100 404",
    "path_filestat_get 3 1 sym 1024",
    "path_rename 3 link 3 new",
    "fd_readdir 3 1024 4096 0L 404",
    "path_unlink_file 3 new",
    "path_unlink_file 3 sym",
    "path_remove_directory 3 dir",
];

/// Everything that reads.
const READS: &[&str] = &[
    "path_open 3 0 old 0 16386L 16386L 0 400",
    "fd_read opened 136 1 404",
    "fd_pread opened 136 1 2L 404",
    "fd_seek opened 0L 0 408",
    "fd_tell opened 408",
    "fd_advise opened 0L 5L 0",
    "fd_filestat_get opened 1024",
    "fd_fdstat_get opened 1024",
    "fd_sync opened",
    "fd_datasync opened",
    "fd_close opened",
    "fd_readdir 3 1024 4096 0L 404",
    "path_filestat_get 3 1 old 1024",
];

/// What may be done with a read-only directory, so that it can be tried what
/// may not be done with its files.
const READABLE: &str = "path_open 3 0 old 0 16386L 16386L 0 400";
const READABLE_AT_ITS_END: &str = "path_open 3 0 old 0 16386L 16386L 1 400";

/// Ways to change what is read-only, or to leave it; each but that one must
/// fail.
const ESCAPES: &[&str] = &[
    "path_create_directory 3 dir",
    "path_open 3 0 file 9 536870911L 536870911L 0 400",
    "path_open 3 0 file 1 16386L 16386L 0 400",
    "path_open 3 0 old 8 16386L 16386L 0 400",
    "path_open 3 0 old 0 64L 64L 0 400",
    "path_open 3 1 ../x 0 16386L 16386L 0 400",
    "path_open 3 1 ../x 9 536870911L 536870911L 0 400",
    "path_filestat_set_times 3 0 old 1000000000L 1000000000L 5",
    "path_filestat_get 3 1 ../x 1024",
    "path_link 3 0 old 3 link",
    "path_link 3 0 ../x 3 link",
    "path_symlink old 3 sym",
    "path_symlink ../x 3 sym",
    "path_rename 3 old 3 new",
    "path_rename 3 old 3 ../x",
    "path_rename 3 ../x 3 new",
    "path_unlink_file 3 old",
    "path_unlink_file 3 ../x",
    "path_remove_directory 3 dir",
    "path_readlink 3 ../x 1024 100 404",
    "fd_filestat_set_size 3 0L",
    "fd_filestat_set_times 3 1000000000L 1000000000L 5",
    "fd_allocate 3 0L 100L",
    // A file that can be read cannot be written, whatever rights are asked.
    "path_open 3 0 old 0 66L 66L 1 400",
    READABLE_AT_ITS_END,
    "fd_write opened 128 1 404",
    READABLE,
    "fd_pwrite opened 128 1 0L 404",
    "fd_write opened 128 1 404",
    "fd_filestat_set_size opened 0L",
    "fd_filestat_set_times opened 1000000000L 1000000000L 5",
    "fd_allocate opened 0L 100L",
    // Absolute names.
    "path_open 3 1 /etc/passwd 0 2L 2L 0 400",
    "path_filestat_get 3 1 /etc/passwd 1024",
    "path_link 3 0 /etc/passwd 3 new",
    "path_rename 3 /etc/passwd 3 new",
    "path_symlink /etc/passwd 3 new",
    "path_unlink_file 3 /etc/passwd",
    "path_open 3 1 /proc/self/environ 0 2L 2L 0 400",
    "path_open 3 1 .. 2 2L 2L 0 400",
    "path_open 3 1 dots/../../x 0 2L 2L 0 400",
    // Links that lead out, which the folder has: to a file, to a folder, to
    // /proc, upwards, to themselves, to what is not there.
    "path_open 3 1 out 0 2L 2L 0 400",
    "path_open 3 1 out/ 0 2L 2L 0 400",
    "path_open 3 1 folder 2 2L 2L 0 400",
    "path_open 3 1 folder/passwd 0 2L 2L 0 400",
    "path_open 3 1 proc/environ 0 2L 2L 0 400",
    "path_open 3 1 dots/x 0 2L 2L 0 400",
    "path_open 3 1 loop 0 2L 2L 0 400",
    "path_open 3 1 dangling 9 66L 66L 0 400",
    "path_filestat_get 3 1 out 1024",
    "path_filestat_get 3 1 folder/passwd 1024",
    "path_filestat_set_times 3 1 out 1000000000L 1000000000L 5",
    "path_link 3 1 out 3 new",
    "path_link 3 0 folder/passwd 3 new",
    "path_rename 3 out 3 new",
    "path_rename 3 out/ 3 new",
    "path_rename 3 out/ 3 new/",
    "path_rename 3 folder/passwd 3 new",
    "path_rename 3 old 3 folder/passwd",
    "path_unlink_file 3 out",
    "path_unlink_file 3 out/",
    "path_unlink_file 3 folder/passwd",
    "path_remove_directory 3 folder",
    "path_create_directory 3 folder/passwd",
    "path_symlink old 3 folder/passwd",
    "path_readlink 3 folder/passwd 1024 100 404",
    // Descriptors that are none, put where a directory is.
    "fd_renumber 700 3",
    "fd_renumber 3 700",
];

/// Ways out of a directory that may be written; each must fail.
const WAYS_OUT: &[&str] = &[
    "path_open 3 1 ../x 0 16386L 16386L 0 400",
    "path_open 3 1 ../x 9 536870911L 536870911L 0 400",
    "path_open 3 1 /etc/passwd 0 2L 2L 0 400",
    "path_open 3 1 .. 2 2L 2L 0 400",
    "path_open 3 1 dots/../../x 0 2L 2L 0 400",
    "path_open 3 1 out 0 2L 2L 0 400",
    "path_open 3 1 out 8 66L 66L 0 400",
    "path_open 3 1 out/ 0 2L 2L 0 400",
    "path_open 3 1 folder 2 2L 2L 0 400",
    "path_open 3 1 folder/passwd 0 2L 2L 0 400",
    "path_open 3 1 proc/environ 0 2L 2L 0 400",
    "path_open 3 1 dots/x 0 2L 2L 0 400",
    "path_open 3 1 loop 0 2L 2L 0 400",
    "path_open 3 1 dangling 9 66L 66L 0 400",
    "path_filestat_get 3 1 out 1024",
    "path_filestat_set_times 3 1 out 1000000000L 1000000000L 5",
    "path_link 3 1 out 3 link",
    "path_link 3 0 folder/passwd 3 link",
    "path_link 3 0 old 3 ../x",
    "path_link 3 0 ../x 3 link",
    "path_rename 3 old 3 ../x",
    "path_rename 3 ../x 3 new",
    "path_rename 3 old 3 folder/passwd",
    "path_rename 3 folder/passwd 3 new",
    "path_rename 3 old 3 dots/x",
    "path_rename 3 dots/x 3 new",
    "path_rename 3 folder 3 ../x",
    "path_symlink /etc/passwd 3 new",
    "path_symlink old 3 ../x",
    "path_symlink old 3 dots/x",
    "path_unlink_file 3 ../x",
    "path_unlink_file 3 dots/x",
    "path_unlink_file 3 folder/passwd",
    "path_create_directory 3 dots/new",
    "path_create_directory 3 ../x",
    "path_remove_directory 3 ..",
    "path_readlink 3 folder/passwd 1024 100 404",
];

/// The errors of all steps, each made in a task of its own worker's life.
fn errors(bench: &Bench, steps: &[&str], grant: &[&str]) -> Vec<i64> {
    std::fs::write(bench.path("steps.wat"), module(steps)).unwrap();
    let items: Vec<usize> = (0..steps.len()).collect();
    let items = serde_json::to_string(&items).unwrap();
    let line = [&["run", "steps.wat", "--map", &items, "-j", "1", "--abi", "core"], grant].concat();
    let ran = bench.run(&line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let values: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    values.iter().map(|value| value.as_i64().unwrap()).collect()
}

/// A folder `data` with a file `old`, beside a file `x`.
pub fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("data")).unwrap();
    std::fs::write(bench.path("data/old"), "old text").unwrap();
    std::fs::write(bench.path("x"), "outside").unwrap();
    bench
}

/// The same with links in it that lead out.
pub fn bench_of_links() -> Bench {
    let bench = bench();
    for (name, to) in [
        ("out", bench.path("x")),
        ("folder", "/etc".into()),
        ("proc", "/proc/self".into()),
        ("dots", "..".into()),
        ("loop", "loop".into()),
        ("dangling", bench.path("made")),
    ] {
        std::os::unix::fs::symlink(to, bench.path("data").join(name)).unwrap();
    }
    bench
}

/// Nothing around the folder has changed.
pub fn assert_outside_is_as_it_was(bench: &Bench) {
    assert_eq!(bench.read("x"), "outside");
    assert!(!bench.path("made").exists() && !bench.path("new").exists());
}

fn names(bench: &Bench) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(bench.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_writable_directory_takes_everything_that_writes() {
    let bench = bench();
    let errors = errors(&bench, WRITES, &["--dir", "data::rw"]);
    for (step, error) in WRITES.iter().zip(&errors) {
        assert_eq!(*error, 0, "{step}");
    }
    assert_eq!(names(&bench), ["file", "old"]);
    assert_eq!(bench.read("data/file"), "hellohehello");
}

#[test]
fn a_superuser_grants_directories_of_others() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::{PermissionsExt, chown};
    let bench = bench();
    chown(bench.path("data"), Some(65534), Some(65534)).unwrap();
    std::fs::set_permissions(bench.path("data"), PermissionsExt::from_mode(0o700)).unwrap();
    let errors = errors(&bench, WRITES, &["--dir", "data::rw"]);
    assert!(errors.iter().all(|error| *error == 0), "{errors:?}");
}

#[test]
fn a_scratch_directory_takes_everything_that_writes_and_is_wiped() {
    let errors = errors(&bench(), WRITES, &["--scratch", "/tmp"]);
    for (step, error) in WRITES.iter().zip(&errors) {
        assert_eq!(*error, 0, "{step}");
    }
}

#[test]
fn scratch_directories_are_found_behind_links() {
    let bench = bench();
    std::os::unix::fs::symlink(bench.path("data"), bench.path("temporary")).unwrap();
    let mut command = bench.command(&["run", "square.wat", "--map", "[3]", "--scratch", "/tmp"]);
    let ran = crate::command::Ran::from(command.env("TMPDIR", bench.path("temporary")).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{ran:?}");
    assert_eq!(names(&bench), ["old"]);
}

#[test]
fn a_read_only_directory_can_be_read() {
    let bench = bench();
    let errors = errors(&bench, READS, &["--dir", "data"]);
    for (step, error) in READS.iter().zip(&errors) {
        assert_eq!(*error, 0, "{step}");
    }
}

#[test]
fn a_read_only_directory_cannot_be_changed_or_left() {
    for links in [false, true] {
        let bench = if links { bench_of_links() } else { bench() };
        let before = names(&bench);
        let times = std::fs::metadata(bench.path("data/old")).unwrap().modified().unwrap();
        let errors = errors(&bench, ESCAPES, &["--dir", "data"]);
        assert!(errors.len() >= 20);
        for (step, error) in ESCAPES.iter().zip(&errors) {
            assert!(*error != 0 || [READABLE, READABLE_AT_ITS_END].contains(step), "{step}");
        }
        assert_eq!(names(&bench), before);
        assert_eq!(bench.read("data/old"), "old text");
        assert_eq!(std::fs::metadata(bench.path("data/old")).unwrap().modified().unwrap(), times);
        assert_outside_is_as_it_was(&bench);
    }
}

#[test]
fn a_granted_directory_cannot_be_left_whatever_is_in_it() {
    let bench = bench_of_links();
    let before = names(&bench);
    let errors = errors(&bench, WAYS_OUT, &["--dir", "data::rw"]);
    for (step, error) in WAYS_OUT.iter().zip(&errors) {
        assert_ne!(*error, 0, "{step}");
    }
    assert_eq!(names(&bench), before);
    assert_outside_is_as_it_was(&bench);
}

#[test]
fn a_link_with_a_slash_stays_a_link() {
    // Renamed with a slash behind it, a link could be followed on the way.
    let bench = bench_of_links();
    errors(&bench, &["path_rename 3 out/ 3 new/", "path_rename 3 out/ 3 new"], &["--dir", "data::rw"]);
    assert_outside_is_as_it_was(&bench);
}

#[test]
fn writes_end_at_their_limit() {
    let bench = bench();
    // Five bytes each time, then a size and room that are too much.
    let steps = [
        "path_open 3 0 file 9 536870911L 536870911L 0 400",
        "fd_write opened 128 1 404",
        "fd_pwrite opened 128 1 5L 404",
        "fd_write opened 128 1 404",
        "fd_pwrite opened 128 1 5L 404",
        "fd_filestat_set_size opened 1000L",
        "fd_allocate opened 0L 1000L",
    ];
    let told = errors(&bench, &steps, &["--dir", "data::rw", "--max-write", "10B"]);
    assert_eq!(told, [0, 0, 0, 51, 51, 51, 51]);
    assert_eq!(bench.read("data/file").len(), 10);
}

#[test]
fn files_in_excess_are_an_error_of_the_guests() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "old")
        (func (export "run") (param $most i32) (result i32) (local $count i32) (local $error i32)
          (loop $next
            (local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 0)
              (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 100)))
            (if (local.get $error) (then (return (i32.sub (i32.const 0) (local.get $error)))))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $count) (local.get $most))))
          (local.get $count)))"#;
    let bench = bench();
    std::fs::write(bench.path("open.wat"), wat).unwrap();
    let ran = bench.run(&["run", "open.wat", "--map", "[40,1000,40]", "--dir", "data", "-j1"]);
    // An I/O error, WASI knows no other for it; and what was opened is closed with its task.
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[40,-29,40]\n"), "{}", ran.err);
    let mut line: Vec<String> = ["run", "open.wat", "--map", "[40,1000]", "-j1"].map(str::to_owned).to_vec();
    for number in 0..100 {
        line.extend(["--dir".to_owned(), format!("data::/d{number}")]);
    }
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let ran = bench.run(&line);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[40,-29]\n"), "{}", ran.err);
}

#[test]
fn a_directory_inside_of_another_keeps_its_own_rights() {
    let bench = bench();
    std::fs::create_dir(bench.path("data/inner")).unwrap();
    // The inner one is writable, the one around it is not; and the other way
    // round.
    for (outer, inner, expected) in [("ro", "rw", true), ("rw", "ro", false)] {
        let (outer, inner) = (format!("data::/outer::{outer}"), format!("data/inner::/inner::{inner}"));
        // Descriptor 4 is the second grant.
        let steps = ["path_create_directory 4 dir", "path_remove_directory 4 dir"];
        let errors = errors(&bench, &steps, &["--dir", &outer, "--dir", &inner]);
        assert_eq!(errors.iter().all(|error| *error == 0), expected, "{outer} {inner}: {errors:?}");
    }
}
