//! Which addresses a guest may use, asked before each use, and what names
//! stand for. The host resolved them: nothing is looked up here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::sockets::SocketAddrUse;

use crate::capabilities::NetGrant;

/// Sockets that a guest has handles for; its worker has descriptors for a few
/// less.
pub const MAX_SOCKETS: usize = 128;

/// Where one task, or one instance that is kept, goes to the network.
#[derive(Clone, Debug, Default)]
pub struct Door(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    grants: Arc<[NetGrant]>,
    /// Something was not granted.
    refused: AtomicBool,
    /// A granted address was bound for datagrams: who sends to it is heard.
    serves: AtomicBool,
}

impl Door {
    /// A door to what is granted.
    #[must_use]
    pub fn new(grants: &Arc<[NetGrant]>) -> Self {
        Self(Arc::new(Inside { grants: Arc::clone(grants), ..Inside::default() }))
    }

    /// Whether anything is granted.
    #[must_use]
    pub fn leads_somewhere(&self) -> bool {
        !self.0.grants.is_empty()
    }

    /// Whether something was refused since the last [`Door::forget`].
    #[must_use]
    pub fn refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The next task starts with a clean slate.
    pub fn forget(&self) {
        self.0.refused.store(false, Ordering::Relaxed);
    }

    /// What a name stands for; `None` where it was not granted.
    #[must_use]
    pub fn look_up(&self, name: &str) -> Option<Vec<IpAddr>> {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = bare.parse() {
            return Some(vec![address]);
        }
        let mut found = Vec::new();
        for address in self.0.grants.iter().filter(|grant| grant.is_named(name)).flat_map(|grant| &grant.addresses) {
            if !found.contains(address) {
                found.push(*address);
            }
        }
        self.note(!found.is_empty());
        (!found.is_empty()).then_some(found)
    }

    /// Has sockets of `builder`'s context ask here.
    pub fn guard(&self, builder: &mut WasiCtxBuilder) {
        let door = self.clone();
        builder.allow_tcp(true);
        builder.allow_udp(true);
        builder.socket_addr_check(move |address, purpose| {
            let admitted = door.admits(address, purpose);
            Box::pin(std::future::ready(admitted))
        });
    }

    fn admits(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        let covered = self.0.grants.iter().any(|grant| grant.covers(address));
        match purpose {
            // Any free port is nothing to be reached at: listening asks again,
            // for what came out, and datagrams are not heard.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if address.port() == 0 => true,
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen | SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => {
                self.note(covered)
            }
            SocketAddrUse::UdpBind => {
                self.0.serves.fetch_or(covered, Ordering::Relaxed);
                self.note(covered)
            }
            // Of a listener that was granted.
            SocketAddrUse::TcpAccept => true,
            // Not the guest's doing: nothing to note.
            SocketAddrUse::UdpReceive => covered || self.0.serves.load(Ordering::Relaxed),
        }
    }

    /// Remembers what is refused.
    fn note(&self, granted: bool) -> bool {
        self.0.refused.fetch_or(!granted, Ordering::Relaxed);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(grants: &[&str]) -> Door {
        let grants: Arc<[NetGrant]> = grants.iter().map(|text| text.parse().unwrap()).collect();
        Door::new(&grants)
    }

    #[test]
    fn every_use_is_asked_for_and_refusals_are_remembered() {
        use SocketAddrUse::{TcpAccept, TcpBind, TcpConnect, TcpListen, UdpBind, UdpReceive, UdpSend};
        let door = door(&["127.0.0.1:80-81"]);
        let asks = |address: &str, purpose| door.admits(address.parse().unwrap(), purpose);
        for purpose in [TcpBind, TcpListen, TcpConnect, UdpSend] {
            assert!(asks("127.0.0.1:81", purpose), "{purpose:?}");
        }
        assert!(asks("0.0.0.0:0", TcpBind) && asks("127.0.0.1:0", UdpBind) && asks("9.9.9.9:9", TcpAccept));
        assert!(!asks("9.9.9.9:9", UdpReceive) && !door.refused());
        for address in ["127.0.0.1:82", "127.0.0.2:80", "[::1]:80", "0.0.0.0:80", "0.0.0.0:0"] {
            for purpose in [TcpBind, TcpListen, TcpConnect, UdpSend, UdpBind] {
                if address.ends_with(":0") && matches!(purpose, TcpBind | UdpBind) {
                    continue;
                }
                assert!(!asks(address, purpose), "{address} {purpose:?}");
                assert!(door.refused());
                door.forget();
            }
        }
        assert!(asks("127.0.0.1:80", UdpBind) && asks("9.9.9.9:9", UdpReceive), "a server hears everyone");
    }

    #[test]
    fn names_are_those_granted() {
        let mut grant: NetGrant = "db.example:5432".parse().unwrap();
        grant.addresses = vec!["10.0.0.1".parse().unwrap()];
        let twice = NetGrant { first: 1, last: 2, ..grant.clone() };
        let door = Door::new(&Arc::from([grant, twice]));
        assert_eq!(door.look_up("DB.example."), Some(vec!["10.0.0.1".parse().unwrap()]));
        assert_eq!(door.look_up("[::1]"), Some(vec!["::1".parse().unwrap()]));
        assert!(!door.refused());
        assert_eq!(door.look_up("example"), None);
        assert!(door.refused());
    }
}
