//! Options that grant a guest more than computing.

use std::path::{Component, Path};

use clap::Args;

use super::heading;
use crate::capabilities::{Access, Capabilities, DirGrant, NetGrant, SharedGrant, check_shared};
use crate::error::Error;
use crate::escape;
use crate::pool::resolve::resolve;

/// What a task may reach.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::CAPABILITIES)]
pub struct CapabilityArgs {
    /// Let tasks open a directory, read-only unless rw (repeatable)
    ///
    /// Without GUEST the guest sees HOST as it is written.
    #[arg(long = "dir", value_name = "HOST[::GUEST][::ro|rw]", value_parser = dir)]
    pub dirs: Vec<DirGrant>,
    /// Give each task a private, empty, writable directory at this path
    #[arg(long, value_name = "GUEST", value_parser = scratch, hide_short_help = true)]
    pub scratch: Option<String>,
    /// Let tasks reach and serve addresses (repeatable)
    ///
    /// By WASI 0.2 sockets. [::1]:80 is IPv6; the host resolves names, once, before the run.
    #[arg(long = "allow-net", value_name = "HOST:PORT[-PORT]", value_parser = str::parse::<NetGrant>)]
    pub net: Vec<NetGrant>,
    /// Set a variable of the guest, or copy it from here (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = env)]
    pub env: Vec<(String, String)>,
    /// Let tasks share an object by its name (repeatable)
    ///
    /// queue:NAME:ITEMS, lock:NAME, semaphore:NAME:PERMITS, counter:NAME,
    /// event:NAME or kv:NAME; guests open them through wpool:pool and
    /// wasi:keyvalue.
    #[arg(long, value_name = "KIND:NAME[:N]", value_parser = shared, hide_short_help = true)]
    pub shared: Vec<SharedGrant>,
    /// Virtual clocks and seeded randomness: the same run twice is the same
    #[arg(long, hide_short_help = true)]
    pub deterministic: bool,
    /// Seed of --deterministic
    #[arg(long, value_name = "N", default_value_t = 0, requires = "deterministic", hide_short_help = true)]
    pub seed: u64,
}

impl CapabilityArgs {
    /// The grants, once the directories are known to be there and no guest
    /// path is given twice.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option.
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        let mut seen: Vec<&str> = self.scratch.as_deref().into_iter().collect();
        let mut dirs = self.dirs.clone();
        for (grant, resolved) in self.dirs.iter().zip(&mut dirs) {
            if seen.contains(&grant.guest.as_str()) {
                return Err(Error::Usage(format!(
                    "two directories are granted as {:?}; give one another GUEST path",
                    grant.guest
                )));
            }
            seen.push(&grant.guest);
            match std::fs::metadata(&grant.host) {
                // Workers run elsewhere: what is granted is what the path
                // means here and now, links included.
                Ok(meta) if meta.is_dir() => {
                    resolved.host = std::fs::canonicalize(&grant.host)
                        .map_err(|error| Error::Usage(format!("--dir {}: {error}", escape::path(&grant.host))))?;
                }
                Ok(_) => return Err(Error::Usage(format!("--dir {}: not a directory", escape::path(&grant.host)))),
                Err(error) => return Err(Error::Usage(format!("--dir {}: {error}", escape::path(&grant.host)))),
            }
        }
        let mut env: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.env {
            // The last one given counts, as in a shell.
            env.retain(|(other, _)| other != name);
            env.push((name.clone(), value.clone()));
        }
        check_shared(&self.shared).map_err(Error::Usage)?;
        let mut capabilities = Capabilities {
            dirs,
            scratch: self.scratch.clone(),
            net: self.net.clone(),
            connections: false,
            env,
            deterministic: self.deterministic.then_some(self.seed),
            shared: self.shared.clone(),
        };
        resolve(&mut capabilities)?;
        Ok(capabilities)
    }
}

/// `HOST[::GUEST][::ro|rw]`; a last part `ro` or `rw` is always the mode.
fn dir(text: &str) -> Result<DirGrant, String> {
    let mut parts: Vec<&str> = text.split("::").collect();
    let access = match parts.as_slice() {
        [_, .., "ro"] => Some(Access::ReadOnly),
        [_, .., "rw"] => Some(Access::ReadWrite),
        [_, _, mode] => return Err(format!("unknown mode {mode:?}; expected ro or rw")),
        _ => None,
    };
    if access.is_some() {
        parts.pop();
    }
    let (host, guest) = match parts.as_slice() {
        [host] => (*host, *host),
        [host, guest] => (*host, *guest),
        _ => return Err("expected HOST, HOST::GUEST or HOST::GUEST::ro|rw".to_owned()),
    };
    if host.is_empty() || guest.is_empty() {
        return Err("a path is empty; expected HOST[::GUEST][::ro|rw]".to_owned());
    }
    no_nul(text)?;
    Ok(DirGrant { host: host.into(), guest: guest.to_owned(), access: access.unwrap_or_default() })
}

fn scratch(text: &str) -> Result<String, String> {
    no_nul(text)?;
    if text.is_empty() {
        return Err("expected a path, such as /tmp".to_owned());
    }
    // It is a name for the guest, below which its files are.
    if Path::new(text).components().any(|part| part == Component::ParentDir) {
        return Err("a path with .. is no directory of its own; expected one such as /tmp".to_owned());
    }
    Ok(text.to_owned())
}

fn env(text: &str) -> Result<(String, String), String> {
    no_nul(text)?;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(std::env::VarError::NotPresent) => {
                return Err(format!("{text} is not set here; give {text}=VALUE"));
            }
            Err(std::env::VarError::NotUnicode(_)) => return Err(format!("the value of {text} is no UTF-8")),
        },
    };
    if name.is_empty() {
        return Err("the name is missing; expected NAME or NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value))
}

fn shared(text: &str) -> Result<SharedGrant, String> {
    text.parse()
}

fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("a NUL byte cannot be passed on".to_owned()) } else { Ok(()) }
}
