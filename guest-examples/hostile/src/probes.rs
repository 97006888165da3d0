//! Attempts to reach what was not granted. Each answers with what it got or
//! with the error that it was given; none of them ends the task.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::json;
use crate::order::Order;

/// Does what the order says; none when the verb is not a probe.
pub fn answer(order: &Order<'_>) -> Option<i64> {
    Some(json(match order.verb {
        "read" => tried(fs::read(order.rest).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        "write" => tried(fs::write(order.rest, "written by a guest").map(|()| "written")),
        "remove" => tried(fs::remove_file(order.rest).map(|()| "removed")),
        "link" => tried(link_and_read(order.rest)),
        "list" => tried(list(order.rest)),
        "connect" => tried(TcpStream::connect(order.rest).map(|_| "connected")),
        "env" => json!(env::vars().collect::<BTreeMap<_, _>>()),
        "args" => json!(env::args().collect::<Vec<_>>()),
        "time" => json!(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)),
        "random" => json!(random()),
        "stdout" => tried(say(&mut io::stdout(), order.rest)),
        "stderr" => tried(say(&mut io::stderr(), order.rest)),
        _ => return None,
    }))
}

/// `{"ok":…}` or `{"err":"…"}`.
fn tried(outcome: io::Result<impl Into<Value>>) -> Value {
    match outcome {
        Ok(value) => json!({ "ok": value.into() }),
        Err(e) => json!({ "err": e.to_string() }),
    }
}

/// Writes the text as it is; nothing else would flush a module without `main`.
fn say(out: &mut dyn Write, text: &str) -> io::Result<&'static str> {
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok("said")
}

/// The names in a directory, in order.
fn list(path: &str) -> io::Result<Value> {
    let mut names = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(json!(names))
}

/// `DIR>TARGET`: makes a symbolic link to TARGET inside DIR and reads through
/// it, the classic way out of a directory.
fn link_and_read(order: &str) -> io::Result<String> {
    let (dir, target) = order.split_once('>').unwrap_or((".", order));
    let link = format!("{dir}/hostile-link");
    #[expect(deprecated, reason = "the only stable way to a symbolic link on WASI")]
    fs::soft_link(target, &link)?;
    let read = fs::read_to_string(&link);
    fs::remove_file(&link)?;
    read
}

/// A number from the host's randomness, by way of a hash map's seed.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
