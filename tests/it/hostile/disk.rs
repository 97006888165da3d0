//! C: guests with a directory to write to: folders in folders, names and
//! single bytes without end, links where the host reads and writes.

use super::Arena;

/// A guest with preview 1 whose `run` does `body` as often as its item says,
/// until that leaves an error; gives how often it went well.
fn guest(imports: &str, before: &str, body: &str) -> String {
    format!(
        r#"(module {imports} (memory (export "memory") 1) (data (i32.const 0) "a") (data (i32.const 32) "\00\00\00\00\01")
          (func (export "run") (param $n i32) (result i32) (local $fd i32) (local $i i32) (local $error i32)
            (local.set $fd (i32.const 3)) {before}
            (block $end (loop $again
              (br_if $end (i32.ge_u (local.get $i) (local.get $n))) {body}
              (br_if $end (local.get $error))
              (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $again)))
            (local.get $i)))"#
    )
}

const OPEN: &str = r#"(import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#;
const FOLDER: &str =
    r#"(import "wasi_snapshot_preview1" "path_create_directory" (func $folder (param i32 i32 i32) (result i32)))"#;
const CLOSE: &str = r#"(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))"#;

#[test]
fn folders_in_folders_without_end_cost_no_host_and_no_item() {
    // Each in the one before; at most two are open.
    let down = "(local.set $error (call $folder (local.get $fd) (i32.const 0) (i32.const 1)))
        (br_if $end (local.get $error))
        (local.set $error (call $open (local.get $fd) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2)
          (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 16)))
        (if (i32.ne (local.get $fd) (i32.const 3)) (then (drop (call $close (local.get $fd)))))
        (local.set $fd (i32.load (i32.const 16)))";
    let arena = Arena::new();
    arena.write("deep.wat", guest(&[OPEN, FOLDER, CLOSE].concat(), "", down));
    // More than descriptors: of a worker, and of a host. The second item finds
    // an empty directory.
    let ran = arena.attack("C19", &["run", "deep.wat", "--map", "[200,2000]", "--scratch", "/s", "-j1"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[200,2000]\n"), "{}", ran.err);
    // A guest that does not come to its end leaves it all to the host.
    let line = ["run", "deep.wat", "--apply", "1000000", "--scratch", "/s", "--timeout", "3s", "--max-write", "1TiB"];
    let ran = arena.attack("C19", &line);
    assert!(ran.code == Some(1) && ran.err.contains("timeout"), "{}", ran.err);
}

#[test]
fn names_and_bytes_in_many_places_end_at_the_limit_of_what_is_written() {
    let arena = Arena::new();
    // A name of six letters that counts, and back to a number again.
    let letter = |at: u32| {
        format!(
            "(i32.store8 (i32.const {at}) (i32.add (i32.const 97)
               (i32.and (i32.shr_u (local.get $i) (i32.const {})) (i32.const 15))))",
            4 * at
        )
    };
    let name: String = (0..6).map(letter).collect();
    let make = "(local.set $error (call $folder (i32.const 3) (i32.const 0) (i32.const 6)))";
    arena.write("names.wat", guest(FOLDER, "", &[&name, make].concat()));
    let file = "(local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
        (i64.const 0x46) (i64.const 0) (i32.const 0) (i32.const 16))) (if (local.get $error) (then unreachable))
        (local.set $fd (i32.load (i32.const 16)))";
    let far = "(local.set $error (call $write (local.get $fd) (i32.const 32) (i32.const 1)
        (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 4096)) (i32.const 20)))";
    let write = r#"(import "wasi_snapshot_preview1" "fd_pwrite"
        (func $write (param i32 i32 i32 i64 i32) (result i32)))"#;
    arena.write("far.wat", guest(&[OPEN, write].concat(), file, far));
    let seek = r#"(import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let sought = "(drop (call $seek (local.get $fd) (i64.const 4095) (i32.const 1) (i32.const 24)))
        (local.set $error (call $write (local.get $fd) (i32.const 32) (i32.const 1) (i32.const 20)))";
    arena.write("sought.wat", guest(&[OPEN, seek].concat(), file, sought));
    // 1024 blocks and a quarter of each kibibyte: here 1280.
    for (module, from, to) in [("names.wat", 1280, 1280), ("far.wat", 1279, 1279), ("sought.wat", 1279, 1279)] {
        std::fs::create_dir(arena.path("data")).unwrap();
        let line = ["run", module, "--apply", "100000", "--dir", "data::/data::rw", "--max-write", "1MiB"];
        let ran = arena.attack("C20", &line);
        let count: u32 = ran.out.trim().parse().unwrap_or_else(|error| panic!("{module}: {error}: {ran:?}"));
        assert!((from..=to).contains(&count), "{module}: {count}");
        std::fs::remove_dir_all(arena.path("data")).unwrap();
    }
    // One byte after another is no new place.
    let near = far.replace("(i64.const 4096)", "(i64.const 1)");
    arena.write("near.wat", guest(&[OPEN, write].concat(), file, &near));
    std::fs::create_dir(arena.path("data")).unwrap();
    let line = ["run", "near.wat", "--apply", "100000", "--dir", "data::/data::rw", "--max-write", "50000"];
    assert_eq!(arena.attack("C20", &line).out, "50000\n");
}

/// Puts a link to a file outside in the place of the second item, and gives
/// its item back.
const LINKS: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $remove (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $link (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 0) "b.txt") (data (i32.const 16) "../secret")
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param $at i32) (param $length i32) (result i64)
      (drop (call $remove (i32.const 3) (i32.const 0) (i32.const 5)))
      (drop (call $link (i32.const 16) (i32.const 9) (i32.const 3) (i32.const 0) (i32.const 5)))
      (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))))"#;

#[test]
fn a_link_in_the_place_of_an_item_is_not_read_out_of_its_directory() {
    let arena = Arena::new();
    arena.write("links.wat", LINKS);
    std::fs::create_dir(arena.path("data")).unwrap();
    arena.write("data/a.txt", "\"a\"");
    arena.write("data/b.txt", "\"b\"");
    arena.write("secret", "\"do-not-tell\"");
    let line = ["run", "links.wat", "--imap", "data/*.txt", "--input", "files", "--dir", "data::/data::rw"];
    for abi in [&["--output", "records", "-j1", "--window", "1"][..], &["--output", "jsonl", "-j1"]] {
        // Lays the link; or finds it, the second time.
        let ran = arena.attack("C21", &[&line, abi].concat());
        assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.err);
    }
    let ran = arena.attack("C21", &[&line[..], &["--output", "records"]].concat());
    let records = ran.records();
    assert_eq!((records[0]["kind"].as_str(), records[1]["kind"].as_str()), (Some("ok"), Some("bad-input")), "{ran:?}");
    assert!(records[1]["error"]["message"].as_str().unwrap().contains("leads out"), "{ran:?}");
}

#[test]
fn what_a_run_writes_is_never_where_its_tasks_write() {
    let arena = Arena::new();
    for folder in ["data", "other"] {
        std::fs::create_dir(arena.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink("data", arena.path("short")).unwrap();
    std::os::unix::fs::symlink("data/file", arena.path("link")).unwrap();
    arena.write("data/file", "");
    for (flag, places) in [
        ("-o", &["data/out", "short/out", "link", "other/../data/out", "data/{index}", "data/sub/{index}.json"][..]),
        ("--journal", &["data/journal"]),
        ("--failed", &["data/failed"]),
        ("--stats-file", &["data/stats", "short/stats"]),
    ] {
        for place in places {
            let line = ["run", "square.wat", "--map", "[3]", flag, place, "--dir"];
            let ran = arena.attack("C22", &[&line[..], &["data::/data::rw"]].concat());
            assert_eq!(ran.code, Some(2), "{flag} {place}: {}", ran.err);
            assert!(ran.err.contains("where tasks may write") && ran.err.contains(flag), "{}", ran.err);
        }
        // Where they only read, or do nothing, nobody lays links.
        let free = format!("other/{}", flag.trim_start_matches('-'));
        let ran = arena.attack("C22", &["run", "square.wat", "--map", "[3]", flag, &free, "--dir", "data::/data::rw"]);
        assert_eq!(ran.code, Some(0), "{flag}: {}", ran.err);
        let ran = arena.attack("C22", &["run", "square.wat", "--map", "[3]", flag, places[0], "--dir", "data"]);
        assert_eq!(ran.code, Some(0), "{flag}: {}", ran.err);
    }
}
