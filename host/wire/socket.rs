//! Moving bytes and descriptors over the socketpair between host and worker.

#![expect(unsafe_code, reason = "what comes is read into memory that was never cleared")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::wire::frame::{Decoder, Room};

/// Most descriptors that travel with one set-up.
pub const MAX_DESCRIPTORS: usize = 32;

/// Sends all of `bytes`, with `descriptors` beside the first of them. Blocks.
///
/// # Errors
/// When the other end is closed, or there are more than [`MAX_DESCRIPTORS`].
pub fn send_all(socket: BorrowedFd<'_>, mut bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other(format!("more than {MAX_DESCRIPTORS} descriptors for one worker")));
    }
    while !bytes.is_empty() {
        let parts = [IoSlice::new(bytes)];
        match rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                bytes = &bytes[sent..];
                control.clear();
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(socket)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Sends what the socket takes of `bytes` now, with a descriptor beside the
/// first of them; how much that was. 0 is nothing, the descriptor included.
///
/// # Errors
/// When the other end is closed.
pub fn send_beside(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends all of `parts`, one after another. Blocks.
///
/// # Errors
/// When the other end is closed.
pub fn send_parts(socket: BorrowedFd<'_>, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty ones at the front would count as sent.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match send_some(socket, parts, SendFlags::empty()) {
            Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(socket)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Sends what the socket takes of `parts` now; how much that was.
///
/// # Errors
/// When the other end is closed.
pub fn send_now(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    match send_some(socket, parts, SendFlags::DONTWAIT) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

fn send_some(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], flags: SendFlags) -> rustix::io::Result<usize> {
    rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL | flags)
}

fn wait_writable(socket: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Receives up to `buffer.len()` bytes and appends descriptors that came with
/// them. 0 is the end of the stream. Blocks as the socket does.
///
/// # Errors
/// As the system reports them; an interrupted call is repeated.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => {
                for item in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(received) = item {
                        descriptors.extend(received);
                    }
                }
                return Ok(message.bytes);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reads into a plain byte buffer without descriptors; 0 is the end.
///
/// # Errors
/// As the system reports them; an interrupted call is repeated.
pub fn read(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(&socket, &mut *buffer) {
            Ok(read) => return Ok(read),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reads once, into the room that `decoder` has; small frames come in blocks of
/// `block` bytes. How many bytes came, and how many could have; 0 is the end of
/// the stream.
///
/// # Errors
/// As the system reports them.
pub fn fill(socket: BorrowedFd<'_>, decoder: &mut Decoder, block: usize) -> io::Result<(usize, usize)> {
    match decoder.room(block) {
        Room::Shared(buffer, most) => {
            let read = read_uncleared(socket, buffer.spare_capacity_mut(), most)?;
            // SAFETY: the kernel has just initialised this many bytes at the
            // start of the spare capacity.
            unsafe { buffer.set_len(buffer.len() + read) };
            Ok((read, most))
        }
        Room::Own(payload, most) => {
            let read = read_uncleared(socket, payload.spare_capacity_mut(), most)?;
            // SAFETY: as above.
            unsafe { payload.set_len(payload.len() + read) };
            Ok((read, most))
        }
    }
}

fn read_uncleared(socket: BorrowedFd<'_>, room: &mut [MaybeUninit<u8>], most: usize) -> rustix::io::Result<usize> {
    let most = most.min(room.len());
    let (filled, _rest) = rustix::io::read(socket, &mut room[..most])?;
    Ok(filled.len())
}
