//! The host's end of a worker's socket once it takes tasks: writes are
//! gathered and never wait, so that replies can always be read (no deadlock
//! when both directions are full).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::pool::item::Connection;
use crate::wire::frame::{Decoder, FrameError, Head};
use crate::wire::shelf::Shelf;
use crate::wire::socket;

/// Payloads from this size are sent from where they lie instead of copied.
const DIRECT: usize = 16 << 10;

/// Bytes read at a time while frames are small.
const BLOCK: usize = 64 << 10;

/// Parts that are written at once.
const PARTS: usize = 16;

/// What is still to be written, and what was read.
#[derive(Debug)]
pub struct Link {
    decoder: Decoder,
    pending: VecDeque<Bytes>,
    gathering: Vec<u8>,
    /// The socket took less than it was given, and has not said since that it
    /// takes more.
    full: bool,
    /// The last read brought as much as it could.
    more: bool,
    /// Travels beside the next bytes. There is at most one: what may be in a
    /// worker beside a connection is nothing.
    beside: Option<Connection>,
}

/// What [`Link::poll`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes, or the end, can be read.
    pub readable: bool,
    /// Bytes can be written.
    pub writable: bool,
}

impl Link {
    /// A link that goes on with `decoder`, accepting frames up to `limit`, the
    /// large ones into blocks of this shelf.
    #[must_use]
    pub fn new(mut decoder: Decoder, limit: u32, shelf: Arc<Shelf>) -> Self {
        decoder.go_on(limit, shelf);
        Self { decoder, pending: VecDeque::new(), gathering: Vec::new(), full: false, more: false, beside: None }
    }

    /// Where small frames are gathered.
    pub fn gather(&mut self) -> &mut Vec<u8> {
        &mut self.gathering
    }

    /// Adds a payload after what was gathered.
    pub fn payload(&mut self, payload: &Bytes) {
        if payload.len() < DIRECT {
            self.gathering.extend_from_slice(payload);
        } else {
            self.settle();
            self.pending.push_back(payload.clone());
        }
    }

    /// Sends a connection with the frame that was gathered.
    pub fn attach(&mut self, connection: Connection) {
        self.beside = Some(connection);
    }

    fn settle(&mut self) {
        if !self.gathering.is_empty() {
            self.pending.push_back(Bytes::copy_from_slice(&self.gathering));
            self.gathering.clear();
        }
    }

    /// Whether something is still to be written.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.pending.is_empty() || !self.gathering.is_empty()
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// When the worker's end is closed.
    pub fn write(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if self.full {
            return Ok(());
        }
        if let Some(connection) = self.beside.clone() {
            self.settle();
            let Some(front) = self.pending.front_mut() else { return Ok(()) };
            let sent = socket::send_beside(socket, front, connection.as_fd())?;
            if sent == 0 {
                return Ok(());
            }
            self.beside = None;
            front.advance(sent);
        }
        if self.pending.is_empty() && !self.gathering.is_empty() {
            // The common case: one gathered buffer that goes out at once.
            let sent = socket::send_now(socket, &[IoSlice::new(&self.gathering)])?;
            if sent == self.gathering.len() {
                self.gathering.clear();
            } else {
                self.gathering.drain(..sent);
                self.full = true;
            }
            return Ok(());
        }
        self.settle();
        while !self.pending.is_empty() {
            // Frames with their payloads: for each by itself the worker would
            // be woken.
            let mut parts = [IoSlice::new(&[]); PARTS];
            let mut wanted = 0;
            for (part, bytes) in parts.iter_mut().zip(&self.pending) {
                *part = IoSlice::new(bytes);
                wanted += bytes.len();
            }
            let sent = socket::send_now(socket, &parts[..self.pending.len().min(PARTS)])?;
            self.sent(sent);
            if sent < wanted {
                self.full = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// So many bytes of what was pending are written.
    fn sent(&mut self, mut bytes: usize) {
        while let Some(front) = self.pending.front_mut() {
            if bytes < front.len() {
                front.advance(bytes);
                return;
            }
            bytes -= front.len();
            self.pending.pop_front();
        }
    }

    /// Waits for the socket or the waker.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn poll(
        &mut self,
        socket: BorrowedFd<'_>,
        waker: BorrowedFd<'_>,
        read: bool,
        timeout: std::time::Duration,
    ) -> io::Result<Seen> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, read);
        wanted.set(PollFlags::OUT, self.has_output());
        let mut polled = [PollFd::from_borrowed_fd(socket, wanted), PollFd::from_borrowed_fd(waker, PollFlags::IN)];
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Seen::default()),
            Err(errno) => return Err(errno.into()),
        }
        let seen = polled[0].revents();
        self.full &= !seen.contains(PollFlags::OUT);
        let ended = PollFlags::HUP | PollFlags::ERR;
        if polled[1].revents().contains(PollFlags::IN) {
            drain(waker);
        }
        Ok(Seen { readable: seen.intersects(PollFlags::IN | ended), writable: seen.contains(PollFlags::OUT) })
    }

    /// Reads once. `Ok(false)` is the end of the stream.
    ///
    /// # Errors
    /// As the system reports them; nothing to read is no error.
    pub fn read(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.more = false;
        match socket::fill(socket, &mut self.decoder, BLOCK) {
            Ok((read, most)) => {
                self.more = read == most;
                Ok(read > 0)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(true),
                io::ErrorKind::ConnectionReset => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Whether the last read left something to read, as far as is known.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The next whole frame that was read.
    ///
    /// # Errors
    /// When the worker does not keep to the protocol.
    pub fn next_frame(&mut self) -> Result<Option<(Head, Bytes)>, FrameError> {
        self.decoder.next_frame()
    }
}

/// Waits until the socket has bytes or its end; false after `timeout`.
pub fn wait_readable(socket: BorrowedFd<'_>, timeout: std::time::Duration) -> bool {
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    matches!(poll(&mut polled, Some(&timeout)), Ok(seen) if seen > 0)
}

/// Takes the count out of a waker; it is non-blocking, so nothing waits.
fn drain(waker: BorrowedFd<'_>) {
    let mut count = [0; 8];
    let _empty = rustix::io::read(waker, &mut count);
}
