//! What the host sends: tasks for the task loop, and in the middle of a task
//! answers to its calls.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::runtime::desk::Broker;
use crate::wire::frame::{Decoder, FrameKind, Head};
use crate::wire::objects::{Answer, Call, Note};
use crate::wire::shelf::Shelf;
use crate::wire::socket;
use crate::worker::outbox::Outbox;

/// Bytes read at a time while frames are small.
const BLOCK: usize = 64 << 10;

/// Bytes of blocks that are kept for the next large items.
const KEPT: usize = 2 << 20;

/// Frames as they came.
pub(super) struct Inbox {
    host: Arc<OwnedFd>,
    state: Mutex<State>,
    /// The running task's ticket.
    ticket: AtomicU64,
    /// Each task has a connection.
    serves: bool,
}

struct State {
    decoder: Decoder,
    /// Tasks that came while a running one waited for an answer; no more than
    /// the host has in one worker.
    aside: VecDeque<(Head, Bytes)>,
    /// Connections that came beside tasks, where each task has one.
    connections: Option<VecDeque<OwnedFd>>,
}

impl Inbox {
    /// Goes on with `decoder`, for frames up to `limit`, and for tasks with
    /// `connections` where that is set.
    pub(super) fn new(host: Arc<OwnedFd>, mut decoder: Decoder, limit: u32, connections: bool) -> Self {
        decoder.go_on(limit, Shelf::new(KEPT));
        let serves = connections;
        let connections = connections.then(VecDeque::new);
        let state = Mutex::new(State { decoder, aside: VecDeque::new(), connections });
        Self { host, state, ticket: AtomicU64::new(0), serves }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next whole frame that is there.
    pub(super) fn next_frame(&self) -> io::Result<Option<(Head, Bytes)>> {
        let mut state = self.state();
        if let Some(frame) = state.aside.pop_front() {
            return Ok(Some(frame));
        }
        state.decoder.next_frame().map_err(io::Error::other)
    }

    /// Reads more; false at the end of the stream.
    pub(super) fn fill(&self) -> io::Result<bool> {
        self.state().fill(self.host.as_fd())
    }

    /// The connection of the task that runs next; the outer `None` where tasks
    /// have none.
    #[expect(clippy::option_option, reason = "a task without its connection is not one that needs none")]
    pub(super) fn connection(&self) -> Option<Option<OwnedFd>> {
        if self.serves { self.state().connections.as_mut().map(VecDeque::pop_front) } else { None }
    }

    /// The task that runs now, in whose name calls are made.
    pub(super) fn begin(&self, ticket: u64) {
        self.ticket.store(ticket, Ordering::Relaxed);
    }

    /// Waits for an answer.
    fn answer(&self) -> io::Result<Answer> {
        let mut state = self.state();
        loop {
            while let Some((head, payload)) = state.decoder.next_frame().map_err(io::Error::other)? {
                if head.kind == FrameKind::Answer {
                    return Answer::read(&payload).ok_or_else(|| io::Error::other("the host's answer is none"));
                }
                state.aside.push_back((head, payload));
            }
            if !state.fill(self.host.as_fd())? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl State {
    fn fill(&mut self, host: BorrowedFd<'_>) -> io::Result<bool> {
        let Some(received) = &mut self.connections else { return read(host, &mut self.decoder) };
        let wanted = self.decoder.wanted().clamp(16 << 10, BLOCK);
        let buffer = self.decoder.buffer();
        let filled = buffer.len();
        buffer.resize(filled + wanted, 0);
        let mut came = Vec::new();
        let read = socket::receive(host, &mut buffer[filled..], &mut came);
        received.extend(came);
        buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        read.map(|read| read > 0)
    }
}

fn read(host: BorrowedFd<'_>, decoder: &mut Decoder) -> io::Result<bool> {
    loop {
        match socket::fill(host, decoder, BLOCK) {
            Ok((read, _most)) => return Ok(read > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes calls of the running task to the host, on the socket that its report
/// will take.
pub(super) struct Caller {
    pub(super) inbox: Arc<Inbox>,
    pub(super) outbox: Outbox,
}

impl Caller {
    fn send(&self, kind: FrameKind, payload: &[u8]) -> io::Result<()> {
        let head =
            Head { ticket: self.inbox.ticket.load(Ordering::Relaxed), ..Head::control(kind, payload.len() as u32) };
        {
            let mut replies = self.outbox.replies();
            let frames = replies.frames();
            head.put(frames);
            frames.extend_from_slice(payload);
        }
        self.outbox.flush()
    }
}

impl Broker for Caller {
    fn ask(&self, call: &Call) -> io::Result<Answer> {
        self.send(FrameKind::Call, &call.to_bytes())?;
        self.inbox.answer()
    }

    fn tell(&self, note: &Note) -> io::Result<()> {
        self.send(FrameKind::Note, &note.to_bytes())
    }
}
