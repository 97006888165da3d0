//! What a guest is allowed beyond computing. The default grants nothing.

mod shared;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

pub use shared::{MAX_BOUND, MAX_NAME, MAX_OBJECTS, SharedGrant, SharedKind, check as check_shared};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Grants for the tasks of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Host directories the guest may open.
    pub dirs: Vec<DirGrant>,
    /// Guest path of a private, empty, writable directory for each item.
    pub scratch: Option<String>,
    /// What the guest may reach over the network, by WASI 0.2 sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetGrant>,
    /// Items are connections, which are the standard streams of a program.
    #[serde(default, skip_serializing_if = "is_false")]
    pub connections: bool,
    /// Environment variables of the guest.
    pub env: Vec<(String, String)>,
    /// Clocks and randomness follow from this seed instead of being real.
    pub deterministic: Option<u64>,
    /// Objects that tasks share. Messages name them by their position here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedGrant>,
}

/// One granted directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirGrant {
    /// Directory on the host: an absolute path without dots and symbolic
    /// links, as [`std::fs::canonicalize`] gives it.
    pub host: PathBuf,
    /// The path under which the guest sees it.
    pub guest: String,
    /// Whether the guest may change it.
    pub access: Access,
}

/// What a guest may do with a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and list only.
    #[default]
    ReadOnly,
    /// Read, create, change and remove, up to `--max-write` bytes per task.
    ReadWrite,
}

impl Capabilities {
    /// Grants nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Grants what `grant` names, as `--allow-net` takes it: `HOST:PORT` or
    /// `HOST:PORT-PORT`. Names are resolved when the pool is built.
    ///
    /// ```
    /// use wpool::Capabilities;
    ///
    /// # fn main() -> Result<(), wpool::Error> {
    /// let grants = Capabilities::none().allow_net("127.0.0.1:8080-8082")?.allow_net("db.example.com:5432")?;
    /// assert_eq!(grants.net.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no such grant.
    pub fn allow_net(mut self, grant: &str) -> Result<Self, Error> {
        self.net.push(grant.parse().map_err(|why: String| Error::Usage(format!("{grant:?}: {why}")))?);
        Ok(self)
    }

    /// Whether a task can change files that outlive it.
    #[must_use]
    pub fn writes_files(&self) -> bool {
        !self.writable().is_empty()
    }

    /// The directories whose files tasks can change.
    #[must_use]
    pub fn writable(&self) -> Vec<PathBuf> {
        let writable = self.dirs.iter().filter(|dir| dir.access == Access::ReadWrite);
        writable.map(|dir| dir.host.clone()).collect()
    }

    /// Whether a task can talk to others while it runs.
    #[must_use]
    pub fn talks(&self) -> bool {
        self.connections || !self.net.is_empty()
    }

    /// Whether a task can leave traces outside its result, so that running it
    /// twice is not the same as running it once.
    #[must_use]
    pub fn side_effects(&self) -> bool {
        self.writes_files() || self.talks() || !self.shared.is_empty()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A host and some of its ports: to bind, listen on, connect to and send to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetGrant {
    /// A name, or an address, as it was written.
    pub host: String,
    /// Its addresses; of a name none until it is resolved.
    pub addresses: Vec<IpAddr>,
    /// The first port.
    pub first: u16,
    /// The last port, which may be the first.
    pub last: u16,
}

impl NetGrant {
    /// Whether this is one of its addresses, at one of its ports.
    #[must_use]
    pub fn covers(&self, address: SocketAddr) -> bool {
        (self.first..=self.last).contains(&address.port()) && self.addresses.contains(&address.ip().to_canonical())
    }

    /// Whether the host is this name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.host.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name))
    }
}

impl FromStr for NetGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "expected HOST:PORT or HOST:PORT-PORT".to_owned();
        let (host, ports) = text.rsplit_once(':').ok_or_else(form)?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| match text.parse::<u16>() {
            Ok(_) if text.starts_with('+') => Err(format!("{text:?} is no port; {}", form())),
            Ok(0) => Err("port 0 is none in particular; grant a range of ports".to_owned()),
            Ok(port) => Ok(port),
            Err(_) => Err(format!("{text:?} is no port; {}", form())),
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("the ports {first}-{last} go backwards"));
        }
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let address = match bracketed {
            Some(inner) => Some(inner.parse::<Ipv6Addr>().map_err(|_| format!("{inner:?} is no IPv6 address"))?.into()),
            None => host.parse::<IpAddr>().ok(),
        };
        if bracketed.is_none() && host.contains(':') {
            return Err("an IPv6 address stands in brackets: [::1]:8080".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if address.is_none() && (host.is_empty() || !host.chars().all(plain)) {
            return Err(format!("{host:?} is neither an address nor a name (there are no wildcards)"));
        }
        let addresses = address.map(|address: IpAddr| address.to_canonical()).into_iter().collect();
        Ok(Self { host: host.strip_suffix('.').unwrap_or(host).to_owned(), addresses, first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> NetGrant {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_covers_its_addresses_and_ports_and_no_others() {
        let covers = |text: &str, address: &str| grant(text).covers(address.parse().unwrap());
        for (granted, address) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1:80-82", "127.0.0.1:82"),
            ("[::1]:80", "[::1]:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("[::ffff:127.0.0.1]:1-65535", "127.0.0.1:65535"),
        ] {
            assert!(covers(granted, address), "{granted} {address}");
        }
        for (granted, address) in [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("127.0.0.1:80-82", "127.0.0.1:83"),
            ("127.0.0.1:80-82", "127.0.0.1:79"),
            ("127.0.0.1:80", "[::1]:80"),
            ("[::1]:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("localhost:80", "127.0.0.1:80"),
        ] {
            assert!(!covers(granted, address), "{granted} {address}");
        }
    }

    #[test]
    fn what_is_no_grant_says_why() {
        for (text, why) in [
            ("127.0.0.1", "expected HOST:PORT"),
            ("127.0.0.1:", "no port"),
            ("127.0.0.1:0", "port 0"),
            ("127.0.0.1:65536", "no port"),
            ("127.0.0.1:+80", "no port"),
            ("127.0.0.1:80-+90", "no port"),
            ("127.0.0.1:9-8", "backwards"),
            ("::1:80", "brackets"),
            ("[1.2.3.4]:80", "no IPv6 address"),
            ("*:80", "wildcards"),
            (":80", "neither"),
            ("a b:80", "neither"),
        ] {
            let error = text.parse::<NetGrant>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(grant("Example.COM.:80").is_named("example.com"));
    }
}
