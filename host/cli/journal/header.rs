//! The first line of a journal: which run it is of.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Resume;
use crate::error::Error;
use crate::wire::message::TaskSpec;

/// Bytes of the secret by which items are told apart.
pub const SALT: usize = 32;

/// Longest first line, in bytes: arguments have a limit of about 2 MiB.
const LONGEST: u64 = 16 << 20;

/// How every first line begins.
const BEGIN: &[u8] = b"{\"v\":1,\"run\":{";

/// Parts of a task's specification that do not shape its result, or are
/// compared by themselves.
const NOT_SHAPING: [&str; 5] = ["limits", "isolation", "features", "program", "targets"];

/// What a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The command as it was typed.
    pub argv: Vec<String>,
    /// The module's file name.
    pub module: String,
    /// The module's content.
    pub sha256: String,
    /// The function.
    pub function: String,
    /// Options that shape results.
    pub options: Map<String, Value>,
    /// Lower-case hex; empty before the journal is begun.
    #[serde(default)]
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct Line<R> {
    v: u32,
    run: R,
}

impl Run {
    /// The run that calls tasks like this.
    #[must_use]
    pub fn new(argv: Vec<String>, sha256: String, function: String, spec: &TaskSpec) -> Self {
        let mut options = match serde_json::to_value(spec) {
            Ok(Value::Object(options)) => options,
            // A specification is an object.
            _ => Map::new(),
        };
        // A name that is granted may have other addresses by now.
        let grants = options.get_mut("capabilities").and_then(|grants| grants.get_mut("net")?.as_array_mut());
        for grant in grants.into_iter().flatten().filter_map(Value::as_object_mut) {
            grant.remove("addresses");
        }
        let shaping = options.into_iter().filter(|(name, _)| !NOT_SHAPING.contains(&name.as_str()));
        let abi = spec.targets.first().map(|target| Value::from(format!("{:?}", target.abi).to_lowercase()));
        let options = shaping.chain(abi.map(|abi| ("abi".to_owned(), abi))).collect();
        Self { argv, module: spec.program.clone(), sha256, function, options, salt: String::new() }
    }

    /// The first line of its journal.
    pub(super) fn line(&self, salt: &[u8; SALT]) -> Vec<u8> {
        let salt = blake3::Hash::from_bytes(*salt).to_hex().to_string();
        let line = Line { v: 1, run: Self { salt, ..self.clone() } };
        // Strings and numbers always have a form in JSON.
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        line
    }

    pub(super) fn salt(&self) -> Result<[u8; SALT], Error> {
        let salt = blake3::Hash::from_hex(&self.salt);
        salt.map(|salt| *salt.as_bytes()).map_err(|_| Error::Input("the journal's salt is none".to_owned()))
    }

    /// Whether `now` may go on with what this run did.
    pub(super) fn check(&self, now: &Self, resume: Resume, shown: &str) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Usage(format!("--resume: the journal {shown} is of {why}")));
        if self.function != now.function {
            return refuse(format!("another function ({:?}, now {:?})", self.function, now.function));
        }
        if self.sha256 != now.sha256 && resume != Resume::AnyModule {
            return refuse(format!(
                "another module (sha256 {}, now {}); --resume=any-module takes its results all the same",
                short(&self.sha256),
                short(&now.sha256)
            ));
        }
        let names = self.options.keys().chain(now.options.keys());
        for name in names {
            let (then, now) = (self.options.get(name), now.options.get(name));
            if then != now {
                let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
                let (then, now) = (text(then), text(now));
                return refuse(format!("a run with other options: {name} was {then} and is {now}"));
            }
        }
        Ok(())
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// A new salt.
pub(super) fn salt() -> io::Result<[u8; SALT]> {
    let mut salt = [0; SALT];
    let mut filled = 0;
    while filled < SALT {
        filled += rustix::rand::getrandom(&mut salt[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(salt)
}

/// Reads the first line and tells where the next begins; `None` where a first
/// line was begun and not ended.
pub(super) fn read(file: &File, shown: &str) -> Result<Option<(Run, u64)>, Error> {
    let unreadable = |error: io::Error| Error::Input(format!("cannot read the journal {shown}: {error}"));
    let mut file = file;
    file.rewind().map_err(unreadable)?;
    let mut line = Vec::new();
    BufReader::new(file.take(LONGEST)).read_until(b'\n', &mut line).map_err(unreadable)?;
    let cut = line.last() != Some(&b'\n');
    let (short, long) = if line.len() < BEGIN.len() { (&line[..], BEGIN) } else { (BEGIN, &line[..]) };
    if cut && long.starts_with(short) {
        return Ok(None);
    }
    let parsed = serde_json::from_slice::<Line<Run>>(&line).ok().filter(|line| line.v == 1);
    let Some(parsed) = parsed.filter(|_| !cut) else {
        return Err(Error::Usage(format!("--journal: {shown} is there already, and is no journal of this version")));
    };
    Ok(Some((parsed.run, line.len() as u64)))
}
