//! A client's connection as the standard streams of a task. Reads and writes
//! wait in the kernel, on the thread that runs the guest: the host ends a
//! worker whose task is over its time.

#![expect(unsafe_code, reason = "the runtime's watch over a descriptor that it does not own has no safe form")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::outcome::Traffic;

/// Most bytes that are read at once for a guest whose memory is not read into.
pub const BLOCK: usize = 64 << 10;

/// The connection of the running task.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Connection {
    /// A connection that has just been handed over.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, received: AtomicU64::new(0), sent: AtomicU64::new(0) }
    }

    /// Waits for bytes and reads them; 0 is the client's end.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer, RecvFlags::empty()).map_err(Into::into)
    }

    /// Reads what is there; `None` when that is nothing.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn receive_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.read(buffer, RecvFlags::DONTWAIT) {
            Ok(read) => Ok(Some(read)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read(&self, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, flags) {
                Ok((read, _)) => {
                    self.received.fetch_add(read as u64, Ordering::Relaxed);
                    return Ok(read);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sends everything, waiting where the client does not read.
    ///
    /// # Errors
    /// As the system reports them; a client that is gone is no signal.
    pub fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.sent.fetch_add(sent as u64, Ordering::Relaxed);
                    bytes = &bytes[sent..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits until there is something to read, or the client's end, beside
    /// whatever else the guest waits for.
    pub async fn readable(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&now));
        if !matches!(ready, Ok(0)) {
            return;
        }
        // SAFETY: the socket stays open, and is the same, for as long as it
        // is borrowed, which is longer than the registration lives.
        let watched = unsafe { AsyncFd::register_with_interest(self.socket.as_fd(), Interest::READABLE) };
        // What cannot be waited for shows when it is read.
        if let Ok(watched) = watched {
            let _seen = watched.readable().await;
        }
    }

    /// Ends it towards the client, whoever else has it open; what went over it.
    pub fn hang_up(&self) -> Traffic {
        // The client may have been faster.
        let _gone = rustix::net::shutdown(&self.socket, Shutdown::Write);
        Traffic { received: self.received.load(Ordering::Relaxed), sent: self.sent.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn streams_end_with_the_client_and_the_task() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours.into());
        let mut block = [0; 16];
        assert_eq!(connection.receive_now(&mut block).unwrap(), None);
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(connection.receive(&mut block).unwrap(), 5);
        assert_eq!(connection.receive(&mut block).unwrap(), 0, "the client's end");
        connection.send(b"bye").unwrap();
        assert_eq!(connection.hang_up(), Traffic { received: 5, sent: 3 });
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "bye", "ended though the connection is open here");
    }

    #[test]
    fn a_client_that_is_gone_is_an_error_and_no_signal() {
        let (client, ours) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours.into());
        drop(client);
        assert_eq!(connection.send(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
