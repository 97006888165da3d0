//! Connections as items: the host accepts, as far as the pool's window allows,
//! and workers talk. What is not accepted yet waits in the system's own queue.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::process::Resource;

use crate::error::{Error, is_scarcity};
use crate::escape;
use crate::outcome::Tag;
use crate::pool::item::{Body, Connection, Item};
use crate::wire::message::ItemForm;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// Pause after which a system that was out of descriptors is asked again, in
/// nanoseconds, unless a connection of ours ends first.
const SCARCE_NS: i64 = 20_000_000;

/// Connections that are taken from the system's queue, for each worker.
const EACH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Descriptors that a worker takes while it starts, for a moment the most.
const DESCRIPTORS_OF_WORKER: usize = 12;

/// Descriptors that are open where the system does not tell.
const ASSUMED_OPEN: usize = 32;

/// What `--listen` takes before the path of a socket.
const UNIX: &str = "unix:";

/// A socket that clients connect to.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Items that are connections, until it is stopped.
#[derive(Debug)]
pub struct Acceptor {
    stopper: Stopper,
    accepted: u64,
}

/// Ends an [`Acceptor`] from another thread; clones are the same.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Stop>);

/// The same, which does not keep the socket open.
#[derive(Clone, Debug)]
pub struct WeakStopper(Weak<Stop>);

#[derive(Debug)]
struct Stop {
    stopped: AtomicBool,
    waker: OwnedFd,
    socket: Socket,
}

impl Stopper {
    /// No further connection is accepted, or waits to be; a socket's file is
    /// removed.
    pub fn stop(&self) {
        if self.0.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        // Whoever accepts may be waiting for room in the pool: it is not for
        // him to close the port. A socket that is not there is closed enough.
        let _closed = rustix::net::shutdown(&self.0.socket, Shutdown::Both);
        // A full counter is readable already, which is all that is wanted.
        let _full = rustix::io::write(&self.0.waker, &1_u64.to_ne_bytes());
        if let Socket::Unix(_, path) = &self.0.socket {
            // Whoever removed it already wanted the same.
            let _gone = std::fs::remove_file(path);
        }
    }

    /// The same for who is to end it if it still goes on.
    #[must_use]
    pub fn downgrade(&self) -> WeakStopper {
        WeakStopper(Arc::downgrade(&self.0))
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }
}

impl WeakStopper {
    /// As [`Stopper::stop`], where the acceptor is still there.
    pub fn stop(&self) {
        if let Some(stop) = self.0.upgrade() {
            Stopper(stop).stop();
        }
    }

    /// Whether the acceptor is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("tcp"),
            },
            Self::Unix(_, path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Acceptor {
    /// Listens at `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no address; [`Error::Io`] where the system
    /// does not give it.
    pub fn bind(address: &str) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(format!("cannot listen at {}", escape::name(address)))(error);
        match address.strip_prefix(UNIX) {
            Some("") => Err(Error::Usage("--listen unix: needs a path, such as unix:/run/talk.sock".to_owned())),
            Some(path) => {
                let path = Path::new(path);
                let listener = UnixListener::bind(path).map_err(|error| match is_left_behind(&error, path) {
                    true => Error::Workers(format!(
                        "cannot listen at {}: a service that was killed has left it; remove it",
                        escape::name(address)
                    )),
                    false => failed(error),
                })?;
                Self::new(Socket::Unix(listener, path.to_owned())).map_err(failed)
            }
            None => {
                if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
                {
                    return Err(Error::Usage(format!(
                        "--listen {address:?}: expected HOST:PORT, such as 127.0.0.1:8001, or unix:PATH"
                    )));
                }
                let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(failed)?.collect();
                let listener = TcpListener::bind(addresses.as_slice()).map_err(failed)?;
                Self::new(Socket::Tcp(listener)).map_err(failed)
            }
        }
    }

    /// Accepts from a socket that listens already.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn tcp(listener: TcpListener) -> io::Result<Self> {
        Self::new(Socket::Tcp(listener))
    }

    fn new(socket: Socket) -> io::Result<Self> {
        // Non-blocking: a client may be gone between its sign and our accept.
        rustix::io::ioctl_fionbio(&socket, true)?;
        // A second time only to have room for more.
        rustix::net::listen(&socket, BACKLOG)?;
        let waker = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let stop = Stop { stopped: AtomicBool::new(false), waker, socket };
        Ok(Self { stopper: Stopper(Arc::new(stop)), accepted: 0 })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> String {
        self.stopper.0.socket.to_string()
    }

    /// What ends it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits for a client, or the end; for the end alone after a refusal of
    /// the system's.
    fn wait(&self, scarce: bool) -> io::Result<()> {
        let stop = PollFd::new(&self.stopper.0.waker, PollFlags::IN);
        let pause = Timespec { tv_sec: 0, tv_nsec: SCARCE_NS };
        let waited = if scarce {
            poll(&mut [stop], Some(&pause))
        } else {
            poll(&mut [stop, PollFd::new(&self.stopper.0.socket, PollFlags::IN)], None)
        };
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn accept(&self) -> io::Result<(OwnedFd, String)> {
        match &self.stopper.0.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // Answers are written whole; to gather them only delays them.
                // Of one that is gone it does not matter.
                let _gone = stream.set_nodelay(true);
                Ok((stream.into(), peer.to_string()))
            }
            Socket::Unix(listener, path) => {
                let (stream, _unnamed) = listener.accept()?;
                Ok((stream.into(), format!("{UNIX}{}", path.display())))
            }
        }
    }

    fn item(&mut self, socket: OwnedFd, peer: String) -> Item {
        let index = self.accepted;
        self.accepted += 1;
        connected(index, socket, peer)
    }
}

/// Connections that are pulled and not delivered: those asked for, else one for
/// each worker to talk to and one that comes next; no more than leave workers
/// the descriptors that they need, or there is nobody to serve.
#[must_use]
pub fn window(asked: Option<NonZeroUsize>, processes: NonZeroUsize) -> NonZeroUsize {
    asked.unwrap_or(processes.saturating_mul(EACH)).min(room(processes))
}

/// How many connections this process may hold so that its descriptors still do
/// for `processes` workers; at least one.
fn room(processes: NonZeroUsize) -> NonZeroUsize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(ASSUMED_OPEN, Iterator::count);
    let taken = processes.get().saturating_mul(DESCRIPTORS_OF_WORKER).saturating_add(open);
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(taken);
    NonZeroUsize::new(left).unwrap_or(NonZeroUsize::MIN)
}

/// Whether `path` is taken by a socket that nobody listens at. To remove it is
/// not for us: whoever made it may be about to listen.
fn is_left_behind(error: &io::Error, path: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    error.kind() == io::ErrorKind::AddrInUse
        && path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(refused)
}

/// Whether nobody can ever connect again: whoever shares the socket has shut it
/// down, or it never was one to listen at.
fn is_over(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP))
}

/// An item that is a connection; its bytes are the client's address, empty
/// where that is not known.
#[must_use]
pub fn connected(index: u64, socket: OwnedFd, peer: String) -> Item {
    let bytes = Bytes::from(peer.clone());
    let body = Body { bytes, form: ItemForm::Raw, path: None, connection: Some(Connection::new(socket)) };
    let input = (!peer.is_empty()).then_some(peer);
    Item { index, body: Ok(body), tag: Some(Box::new(Tag { input, ..Tag::default() })) }
}

impl Iterator for Acceptor {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let mut scarce = false;
        loop {
            // What cannot be waited for cannot be served either.
            self.wait(scarce).ok()?;
            if self.stopper.is_stopped() {
                return None;
            }
            match self.accept() {
                Ok((socket, peer)) => return Some(self.item(socket, peer)),
                Err(error) if is_over(&error) => return None,
                // Any other error is of one client, who is gone.
                Err(error) => scarce = error.kind() != io::ErrorKind::WouldBlock && is_scarcity(&error),
            }
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptor_that_waits_is_stopped() {
        let acceptor = Acceptor::bind("127.0.0.1:0").unwrap();
        let stopper = acceptor.stopper();
        let waiting = std::thread::spawn(move || acceptor.count());
        stopper.stop();
        assert_eq!(waiting.join().unwrap(), 0);
    }

    #[test]
    fn a_listener_that_others_shut_down_is_at_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = listener.try_clone().unwrap();
        let acceptor = Acceptor::tcp(listener).unwrap();
        rustix::net::shutdown(&other, Shutdown::Both).unwrap();
        assert_eq!(acceptor.count(), 0);
    }

    #[test]
    fn what_is_no_address_is_wrong_usage_and_one_in_use_is_not() {
        for address in ["8080", ":8080", "localhost", "localhost:x", "unix:", "127.0.0.1:70000"] {
            assert_eq!(Acceptor::bind(address).unwrap_err().exit_code(), 2, "{address}");
        }
        let taken = Acceptor::bind("127.0.0.1:0").unwrap();
        let error = Acceptor::bind(&taken.address()).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
