//! The parsing itself: the bytes of a line to the JSON text of an object.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::bytes::{Captures, Regex};
use serde::Serialize;

/// host ident user [time] "request" status bytes, then "referer" "agent", which
/// the older "common" format lacks. ASCII classes keep the compiled pattern
/// small: without an initializer it is compiled for a single line.
const PATTERN: &str = concat!(
    r"(?-u)^(?P<host>[^ ]+) [^ ]+ (?P<user>[^ ]+) ",
    r"\[(?P<day>\d\d)/(?P<month>[A-Za-z]+)/(?P<year>\d\d\d\d):",
    r"(?P<clock>\d\d:\d\d:\d\d) (?P<zone_hours>[+-]\d\d)(?P<zone_minutes>\d\d)\] ",
    r#""(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d\d\d) (?P<bytes>\d+|-)"#,
    r#"(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?$"#,
);

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

static LINE: OnceLock<Option<Regex>> = OnceLock::new();

/// What a line says, in the order in which it is written. What the log marks
/// with a dash is none.
#[derive(Serialize)]
struct Entry<'a> {
    host: Cow<'a, str>,
    user: Option<Cow<'a, str>>,
    time: String,
    method: Option<&'a str>,
    path: &'a str,
    protocol: Option<&'a str>,
    status: u16,
    bytes: Option<u64>,
    referer: Option<Cow<'a, str>>,
    agent: Option<Cow<'a, str>>,
}

/// Compiles the pattern, unless that is done.
pub fn prepare() -> Option<&'static Regex> {
    LINE.get_or_init(|| Regex::new(PATTERN).ok()).as_ref()
}

/// The line as JSON text, or what is wrong with it.
pub fn to_json(line: &[u8]) -> Result<Vec<u8>, String> {
    let pattern = prepare().ok_or("the pattern does not compile")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let found = pattern.captures(line).ok_or("not a line of the combined log format")?;
    let request = text(&found, "request").unwrap_or_default();
    let (method, path, protocol) = split_request(&request);
    let entry = Entry {
        host: text(&found, "host").unwrap_or_default(),
        user: said(&found, "user"),
        time: time(&found)?,
        method,
        path,
        protocol,
        status: number(&found, "status")?.unwrap_or_default(),
        bytes: number(&found, "bytes")?,
        referer: said(&found, "referer"),
        agent: said(&found, "agent"),
    };
    serde_json::to_vec(&entry).map_err(|e| e.to_string())
}

/// Method, path and protocol. A request that is not three words is a client's
/// nonsense, logged as it came: it is kept whole, as a path.
fn split_request(request: &str) -> (Option<&str>, &str, Option<&str>) {
    let mut words = request.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(path), Some(protocol), None) => (Some(method), path, Some(protocol)),
        _ => (None, request, None),
    }
}

fn text<'a>(found: &Captures<'a>, part: &str) -> Option<Cow<'a, str>> {
    found.name(part).map(|part| String::from_utf8_lossy(part.as_bytes()))
}

fn said<'a>(found: &Captures<'a>, part: &str) -> Option<Cow<'a, str>> {
    text(found, part).filter(|text| text != "-")
}

fn number<N: std::str::FromStr>(found: &Captures<'_>, part: &str) -> Result<Option<N>, String> {
    said(found, part).map(|digits| digits.parse().map_err(|_| format!("{part} {digits} is too large"))).transpose()
}

/// `10/Oct/2000:13:55:36 -0700` as `2000-10-10T13:55:36-07:00`.
fn time(found: &Captures<'_>) -> Result<String, String> {
    let part = |name| text(found, name).unwrap_or_default();
    let name = part("month");
    let month = MONTHS.iter().position(|month| *month == name).ok_or_else(|| format!("no month is called {name}"))? + 1;
    Ok(format!(
        "{}-{month:02}-{}T{}{}:{}",
        part("year"),
        part("day"),
        part("clock"),
        part("zone_hours"),
        part("zone_minutes"),
    ))
}
