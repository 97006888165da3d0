//! Disks without room, read-only disks, `/dev/full`.

use std::process::Output;

use super::PATIENCE;
use crate::command::Ran;
use crate::hostile::Arena;
use crate::support::skipped;

/// Gives back a JSON string of 1000 characters.
const LONG: &str = r#"(module (memory (export "memory") 1) (data (i32.const 16) "\"")
    (func (export "alloc") (param i32) (result i32) (i32.const 4096))
    (func (export "run") (param i32 i32) (result i64)
      (memory.fill (i32.const 17) (i32.const 120) (i32.const 1000))
      (i32.store8 (i32.const 1017) (i32.const 34))
      (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 1002))))"#;

fn arena() -> Arena {
    let arena = Arena::new();
    arena.write("long.wat", LONG);
    std::fs::create_dir(arena.path("disk")).unwrap();
    arena.attack("warm", &["compile", "long.wat", "--quiet"]);
    arena
}

/// Runs a script where `disk` is a file system of 64 KiB that nobody else
/// sees, or `None` where such a one cannot be had.
#[track_caller]
fn on_small_disk(test: &str, arena: &Arena, script: &str) -> Option<Ran> {
    let mount = "mount -t tmpfs -o size=64k,mode=755 none disk 2>mounting || exit 77\n";
    let limit = PATIENCE.as_secs().to_string();
    for unshare in [&["unshare", "--mount"][..], &["unshare", "--mount", "--map-root-user"]] {
        let line = [&["timeout", &limit], unshare].concat();
        let Ok(output) = arena.shell(&line, &format!("{mount}{script}")).output() else { break };
        let refused = output.status.code() == Some(77) || is_of_unshare(&output);
        if !refused {
            return Some(Ran::from(output));
        }
    }
    skipped(&format!("{test}: no small disk can be mounted here"));
    None
}

fn is_of_unshare(output: &Output) -> bool {
    output.stderr.starts_with(b"unshare:")
}

#[test]
fn a_full_disk_leaves_no_file_that_looks_whole() {
    let arena = arena();
    arena.write("many.json", serde_json::to_string(&vec![1; 500]).unwrap());
    let script = "\"$WPOOL\" run long.wat --map many.json --abi bytes -o disk/out.json; echo $?; ls disk";
    let Some(ran) = on_small_disk("output file", &arena, script) else { return };
    assert_eq!(ran.out, "4\nout.json.part\n", "{}", ran.err);
    assert!(ran.err.contains("disk/out.json: No space left"), "{}", ran.err);
}

#[test]
fn a_full_disk_ends_a_stream_with_an_error() {
    let arena = arena();
    arena.write("many.json", serde_json::to_string(&vec![1; 500]).unwrap());
    for mode in ["--map", "--imap", "--imap-unordered"] {
        let script = format!("\"$WPOOL\" run long.wat {mode} many.json --abi bytes > disk/out; echo $?");
        let Some(ran) = on_small_disk("stream", &arena, &script) else { return };
        assert_eq!(ran.out, "4\n", "{mode}: {}", ran.err);
        assert!(ran.err.contains("standard output: No space left"), "{mode}: {}", ran.err);
    }
}

#[test]
fn files_of_items_are_whole_or_not_there_on_a_full_disk() {
    let arena = arena();
    arena.write("many.json", serde_json::to_string(&vec![1; 500]).unwrap());
    let script = "\"$WPOOL\" run long.wat --map many.json --abi bytes -o 'disk/{index}' > records; echo $?
        for file in disk/*; do wc -c < $file; done | sort -u; ls disk | wc -l; wc -l < records";
    let Some(ran) = on_small_disk("pattern", &arena, script) else { return };
    let lines: Vec<&str> = ran.out.split_whitespace().collect();
    assert_eq!(&lines[..2], ["4", "1002"], "all files are whole: {ran:?}");
    assert!(lines[2].parse::<u32>().unwrap() > 3, "{ran:?}");
    assert_eq!(lines[2], lines[3], "there is a record of each file: {ran:?}");
    assert!(ran.err.contains("No space left"), "{}", ran.err);
}

#[test]
fn a_cache_on_a_full_disk_is_done_without() {
    let arena = arena();
    // Full before the cache is made, and before an artifact is put into it.
    for room in [0, 8] {
        let script = format!(
            "head -c $((65536 - {room} * 1024)) /dev/zero > disk/filling; export WPOOL_CACHE_DIR=disk/cache
             for run in 1 2; do \"$WPOOL\" run long.wat --apply 1 --abi bytes | wc -c; done; ls -A disk/cache | grep -v key"
        );
        let Some(ran) = on_small_disk("cache", &arena, &script) else { return };
        assert_eq!(ran.out, "1003\n1003\n", "nothing is left there: {ran:?}");
        let said = ran.err.matches("warning: ").count();
        assert!(said == 2 && ran.err.contains("No space left"), "{}", ran.err);
    }
}

#[test]
fn scratch_and_statistics_on_a_full_disk_are_told() {
    let arena = arena();
    let script = "head -c 65536 /dev/zero > disk/filling; mkdir disk/tmp
        TMPDIR=$PWD/disk/tmp \"$WPOOL\" run long.wat --apply 1 --abi bytes --scratch /s | wc -c
        ls disk/tmp; \"$WPOOL\" run long.wat --apply 1 --abi bytes --stats-file disk/stats > out; echo $?";
    let Some(ran) = on_small_disk("scratch", &arena, script) else { return };
    assert_eq!(ran.out, "1003\n4\n", "{}", ran.err);
    assert!(ran.err.contains("disk/stats: No space left"), "{}", ran.err);
}

#[test]
fn a_read_only_disk_is_an_error_and_no_hang() {
    let arena = arena();
    let script = "mount -o remount,ro none disk; export WPOOL_CACHE_DIR=disk/cache
        \"$WPOOL\" run long.wat --apply 1 --abi bytes | wc -c
        \"$WPOOL\" run long.wat --apply 1 --abi bytes -o disk/out; echo $?
        TMPDIR=$PWD/disk \"$WPOOL\" run long.wat --apply 1 --abi bytes --scratch /s; echo $?";
    let Some(ran) = on_small_disk("read-only", &arena, script) else { return };
    assert_eq!(ran.out, "1003\n4\n4\n", "{}", ran.err);
    for says in ["not using the cache disk/cache: Read-only", "disk/out.part: Read-only", "scratch directory: "] {
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
    }
}

#[test]
fn dev_full_is_an_error_in_every_form() {
    let arena = arena();
    let run = "\"$WPOOL\" run long.wat --abi bytes";
    for form in ["--map '[1,2]' > /dev/full", "--imap '[1,2]' > /dev/full", "--apply 1 > /dev/full"] {
        let output = arena.shell(&[], &format!("{run} {form}")).output().unwrap();
        let ran = Ran::from(output);
        assert!(ran.code == Some(4) && ran.err.contains("No space left"), "{form}: {ran:?}");
    }
    // Messages have no other place to go to: what can be done is done.
    let ran =
        Ran::from(arena.shell(&[], &format!("{run} --map '[1,2]' --stats 2> /dev/full | wc -c")).output().unwrap());
    assert_eq!(ran.out, "2008\n");
    for document in ["inspect long.wat", "doctor", "generate completions bash", "run long.wat --map '[1]' --dry-run"] {
        let ran = Ran::from(arena.shell(&[], &format!("\"$WPOOL\" {document} > /dev/full")).output().unwrap());
        assert_eq!(ran.code, Some(4), "{document}: {ran:?}");
    }
}
