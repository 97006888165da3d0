//! F: odd command lines, and caches that others reach.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::cases::Cases;
use super::{Arena, Attacked};

const ECHO: &str = r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#;

/// Terminal sequences, marks that turn text around, and a forged line.
const NASTY: &str = "\u{1b}[31m\u{202e}\u{9b}2J\u{7}\u{200b}";

pub fn options() -> Cases {
    let mut cases = Cases::default();
    for options in [
        &["-j", "-1"][..],
        &["-j", "0"],
        &["-j", "1000000000"],
        &["-j", "many"],
        &["-j", "1e3"],
        &["-j", "18446744073709551616"],
        &["--timeout", "0"],
        &["--timeout", "NaN"],
        &["--timeout", "inf"],
        &["--timeout", "1e300"],
        &["--timeout", "-1s"],
        &["--timeout", ""],
        &["--timeout", "99999999999999999999y"],
        &["--cpu-timeout", "0"],
        &["--deadline", "0s"],
        &["--grace", "-1"],
        &["--compile-timeout", "0"],
        &["--memory", "1XB"],
        &["--memory", "-1"],
        &["--memory", "0"],
        &["--memory", ""],
        &["--memory", "99999999999999999999TiB"],
        &["--stack", "0"],
        &["--stack", "1TiB"],
        &["--max-item", "-5"],
        &["--max-result", "lots"],
        &["--chunksize", "0"],
        &["--chunksize", "-1"],
        &["--window", "0"],
        &["--fuel", "-3"],
        &["--retries", "-1"],
        &["--seed", "1"],
        &["--env", "=x"],
        &["--env", ""],
        &["--dir", ""],
        &["--dir", "no-such-folder"],
        &["--dir", "square.wat"],
        &["--dir", ".::/a::maybe"],
        &["--scratch", ""],
        &["--only", "3-1"],
        &["--only", "x"],
        &["-W", "everything"],
        &["--sandbox", "maybe"],
        &["--isolation", "total"],
        &["--retry-on", "sometimes"],
        &["--map", "[2]"],
        &["--imap", "[2]"],
        &["--no-such-option"],
        &["--output", "records", "--output", "json"],
    ] {
        cases.add("F05", options.join(" "), move || {
            let arena = Arena::new();
            let ran = arena.attack("F05", &[&["run", "square.wat", "--map", "[1]"], options].concat());
            wrong_usage(&ran);
        });
    }
    cases
}

#[test]
fn odd_options_are_wrong_usage() {
    options().run();
}

#[track_caller]
fn wrong_usage(ran: &Attacked) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
    assert!(ran.err.starts_with("error: ") && ran.err.len() < 10_000, "{} bytes: {:.500}", ran.err.len(), ran.err);
}

pub fn nasty_arguments() -> Cases {
    let mut cases = Cases::default();
    let long = "x".repeat(100_000);
    for (name, text) in [("controls", NASTY.to_owned()), ("a long name", long.clone()), ("both", NASTY.repeat(5000))] {
        let shown = if name == "a long name" { "xxx" } else { "\\x1b[31m\\u{202e}\\u{9b}2J\\x07\\u{200b}" };
        for line in [
            vec!["run", "square.wat", "--map", "[1]", "--output", &text],
            vec!["run", "square.wat", "--map", "[1]", "--sandbox", &text],
            vec!["run", "square.wat", "--map", "[1]", "-j", &text],
            vec!["run", "square.wat", "--map", "[1]", "-W", &text],
            vec!["run", "square.wat", "--map", "[1]", &text],
            vec!["run", &text],
            vec![&text],
            vec!["help", &text],
            vec!["generate", &text],
        ] {
            let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
            cases.add("F05", format!("{name}: {:.30}", line[..line.len() - 1].join(" ")), move || {
                let arena = Arena::new();
                let line: Vec<&str> = line.iter().map(String::as_str).collect();
                let ran = arena.attack("F05", &line);
                wrong_usage(&ran);
                // What is only missing says nothing of what is there.
                assert!(ran.err.contains(shown) || ran.err.contains("required arguments"), "{}", ran.err);
            });
        }
        // Long and odd, but no wrong usage: the file is missing, the function
        // is not there, the value is bad.
        for (line, code) in [
            (vec!["run", &text, "--map", "[1]"], 3),
            (vec!["run", "square.wat", "--map", "[1]", "--invoke", &text], 3),
            (vec!["run", "square.wat", "--map", &text, "--input", "lines"], 4),
            (vec!["run", "square.wat", "--map", "[1]", "-o", &text], 4),
            (vec!["inspect", &text], 3),
            (vec!["compile", &text], 3),
        ] {
            let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
            cases.add("F05", format!("{name}: {:.60}", line.join(" ").replace(&text, "…")), move || {
                let arena = Arena::new();
                let line: Vec<&str> = line.iter().map(String::as_str).collect();
                let ran = arena.attack("F05", &line);
                // Where a file of this name can be made, it is.
                let made = code == 4 && line.contains(&"-o") && ran.code == Some(0);
                assert!(ran.code == Some(code) || made, "{ran:?}");
                assert!(ran.err.len() < 10_000, "{} bytes", ran.err.len());
            });
        }
    }
    cases
}

#[test]
fn arguments_are_escaped_and_cut_in_messages() {
    nasty_arguments().run();
}

pub fn names() -> Cases {
    let mut cases = Cases::default();
    for name in ["ü \u{1f980}.wat", "--map", "-", "a b;$(c).wat", "a\nb.wat", "\u{1b}[31m.wat", "\u{202e}.wat"] {
        cases.add("F05", name.escape_default().to_string(), move || {
            let arena = Arena::new();
            arena.write(name, ECHO);
            let path = format!("./{name}");
            for output in ["json", "records"] {
                let ran = arena.attack("F05", &["run", "--output", output, "--map", "[5]", "--", &path]);
                // After `--` comes the guest's.
                assert_eq!(ran.code, Some(2), "{ran:?}");
                let ran = arena.attack("F05", &["run", &path, "--output", output, "--map", "[5]"]);
                assert_eq!(ran.code, Some(0), "{ran:?}");
            }
        });
    }
    cases.add("F05", "a name that is no text", || {
        use std::os::unix::ffi::OsStrExt;
        let arena = Arena::new();
        let name = std::ffi::OsStr::from_bytes(b"a\xff\x1b.wat");
        std::fs::write(arena.path(".").join(name), ECHO).unwrap();
        let mut command = arena.command(&["run", "--map", "[5]"]);
        let output = command.arg(name).output().unwrap();
        assert_eq!(output.stdout, b"[5]\n", "{output:?}");
        let output = arena.command(&["run", "--map", "[5]", "--output"]).arg(name).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!output.stderr.contains(&0x1b) && !output.stderr.contains(&0xff), "{output:?}");
    });
    cases
}

#[test]
fn names_of_modules_may_be_anything() {
    names().run();
}

/// What is done to a cache that was filled, and whether that can be said.
type Spoil = fn(&Arena);

fn artifact(arena: &Arena) -> PathBuf {
    file(arena, ".cwasm")
}

fn file(arena: &Arena, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(arena.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.to_str().unwrap().ends_with(end)).unwrap()
}

fn edit(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

pub fn caches() -> Cases {
    let mut cases = Cases::default();
    let spoils: [(&str, Spoil); 20] = [
        ("a flipped bit at the start", |arena| edit(artifact(arena), |bytes| bytes[0] ^= 1)),
        ("a flipped bit in the middle", |arena| edit(artifact(arena), |bytes| *middle(bytes) ^= 0x80)),
        ("a flipped bit at the end", |arena| edit(artifact(arena), |bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("cut short", |arena| edit(artifact(arena), |bytes| bytes.truncate(bytes.len() / 2))),
        ("emptied", |arena| edit(artifact(arena), Vec::clear)),
        ("made longer", |arena| edit(artifact(arena), |bytes| bytes.push(0))),
        ("removed", |arena| std::fs::remove_file(artifact(arena)).unwrap()),
        ("a native program", |arena| {
            std::fs::copy("/bin/true", artifact(arena)).unwrap();
        }),
        ("a folder", |arena| {
            std::fs::remove_file(artifact(arena)).unwrap();
            std::fs::create_dir(file(arena, ".json").with_extension("cwasm")).unwrap();
        }),
        ("a link to itself", |arena| {
            let path = artifact(arena);
            std::fs::remove_file(&path).unwrap();
            symlink(&path, &path).unwrap();
        }),
        ("a link to the same bytes", |arena| {
            let path = artifact(arena);
            std::fs::rename(&path, arena.path("elsewhere")).unwrap();
            symlink(arena.path("elsewhere"), &path).unwrap();
        }),
        ("that others may write", |arena| {
            std::fs::set_permissions(artifact(arena), PermissionsExt::from_mode(0o666)).unwrap();
        }),
        ("a description of other functions", |arena| {
            edit(file(arena, ".json"), |bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace("square", "sqvare").into_bytes();
            });
        }),
        ("a description that is no JSON", |arena| edit(file(arena, ".json"), |bytes| bytes[1] = b'x')),
        ("a deep description", |arena| edit(file(arena, ".json"), |bytes| *bytes = b"[".repeat(1 << 20))),
        ("a description of another version", |arena| {
            edit(file(arena, ".json"), |bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace("\"v\":1", "\"v\":0").into_bytes();
            });
        }),
        ("no description", |arena| std::fs::remove_file(file(arena, ".json")).unwrap()),
        ("another secret", |arena| edit(file(arena, "key"), |bytes| bytes[0] ^= 1)),
        ("a short secret", |arena| edit(file(arena, "key"), |bytes| bytes.truncate(31))),
        ("a secret that others may read", |arena| {
            std::fs::set_permissions(file(arena, "key"), PermissionsExt::from_mode(0o644)).unwrap();
        }),
    ];
    for (name, spoil) in spoils {
        cases.add("F06", name, move || {
            let arena = Arena::new();
            let line = ["run", "square.wat", "--map", "[3]", "--stats=json"];
            arena.attack(name, &line);
            assert!(arena.attack(name, &line).err.contains("\"cached\":true"));
            spoil(&arena);
            let ran = arena.attack(name, &line);
            assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{}", ran.err);
            assert!(ran.err.contains("\"cached\":false"), "{}", ran.err);
        });
    }
    cases.add("F06", "an artifact of another module", || {
        let arena = Arena::new();
        arena.attack("F06", &["run", "square.wat", "--map", "[3]"]);
        let square = artifact(&arena);
        arena.write("echo.wat", ECHO);
        arena.attack("F06", &["run", "echo.wat", "--map", "[3]"]);
        let entries = std::fs::read_dir(arena.path("cache")).unwrap().map(|entry| entry.unwrap().path());
        let echo =
            entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "cwasm") && *path != square);
        std::fs::copy(echo.unwrap(), &square).unwrap();
        let ran = arena.attack("F06", &["run", "square.wat", "--map", "[3]", "--stats=json"]);
        assert_eq!(ran.out, "[9]\n", "{}", ran.err);
        assert!(ran.err.contains("\"cached\":false"), "{}", ran.err);
    });
    cases
}

fn middle(bytes: &mut [u8]) -> &mut u8 {
    let at = bytes.len() / 2;
    &mut bytes[at]
}

#[test]
fn what_was_changed_in_the_cache_is_compiled_anew() {
    caches().run();
}

pub fn folders() -> Cases {
    let mut cases = Cases::default();
    let mode = |arena: &Arena, mode| {
        std::fs::create_dir(arena.path("cache")).unwrap();
        std::fs::set_permissions(arena.path("cache"), PermissionsExt::from_mode(mode)).unwrap();
    };
    cases.add("F06", "a link to a folder", || {
        not_used(|arena| symlink(arena.path("tmp"), arena.path("cache")).unwrap());
    });
    cases.add("F06", "a link to nothing", || {
        not_used(|arena| symlink(arena.path("nothing"), arena.path("cache")).unwrap());
    });
    cases.add("F06", "a file", || not_used(|arena| arena.write("cache", "a file")));
    cases.add("F06", "a device", || not_used(|arena| symlink("/dev/null", arena.path("cache")).unwrap()));
    cases.add("F06", "that all may write", move || not_used(|arena| mode(arena, 0o777)));
    cases.add("F06", "that the group may read", move || not_used(|arena| mode(arena, 0o750)));
    cases.add("F06", "of another user", move || {
        if !rustix::process::geteuid().is_root() {
            return crate::support::skipped("only a superuser gives a folder away");
        }
        not_used(|arena| {
            mode(arena, 0o700);
            std::os::unix::fs::chown(arena.path("cache"), Some(65534), Some(65534)).unwrap();
        });
    });
    cases.add("F06", "a secret of another user", || {
        if !rustix::process::geteuid().is_root() {
            return crate::support::skipped("only a superuser gives a file away");
        }
        not_used(|arena| {
            arena.attack("F06", &["compile", "square.wat"]);
            std::os::unix::fs::chown(file(arena, "key"), Some(65534), Some(65534)).unwrap();
        });
    });
    cases.add("F06", "that cannot be written", move || {
        if rustix::process::geteuid().is_root() {
            return crate::support::skipped("a superuser writes everywhere");
        }
        not_used(|arena| mode(arena, 0o500));
    });
    cases.add("F06", "below a file", || {
        let arena = Arena::new();
        arena.write("file", "");
        let mut command = arena.command(&["run", "square.wat", "--map", "[3]"]);
        let output = command.env("WPOOL_CACHE_DIR", arena.path("file").join("cache")).output().unwrap();
        assert_eq!(output.stdout, b"[9]\n", "{output:?}");
    });
    cases
}

/// A cache in this state is left alone, and that is said.
#[track_caller]
fn not_used(spoil: impl FnOnce(&Arena)) {
    let arena = Arena::new();
    spoil(&arena);
    let ran = arena.attack("F06", &["run", "square.wat", "--map", "[3]"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{}", ran.err);
    assert!(ran.err.contains("warning: not using the cache"), "{}", ran.err);
    let left = std::fs::read_dir(arena.path("tmp")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn a_cache_that_is_no_private_folder_is_not_used() {
    folders().run();
}

#[test]
fn a_full_cache_is_done_without() {
    // A file system of a few pages, which only a superuser mounts.
    let arena = Arena::new();
    std::fs::create_dir(arena.path("cache")).unwrap();
    let script = "mount -t tmpfs -o size=8k,mode=700 none cache || exit 99; exec \"$@\"";
    let run = arena.command(&["run", "square.wat", "--map", "[3]"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
    command.current_dir(arena.path(".")).env("WPOOL_CACHE_DIR", arena.path("cache"));
    let output = command.output();
    let Some(output) =
        output.ok().filter(|output| output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare"))
    else {
        return crate::support::skipped("no file system can be mounted");
    };
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"[9]\n"[..]), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot keep the compiled module"), "{output:?}");
}
