//! A worker that lies: it speaks the wire and does what each item tells it
//! to. For tests of what the host believes; never installed.
//!
//! With other arguments than a worker's it is the whole command, whose
//! workers then are itself: it is started from the running program.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test's worker: its panics and exits are meant")]

#[path = "mock_worker/calls.rs"]
mod calls;
#[path = "mock_worker/compile.rs"]
mod compile;
#[path = "mock_worker/lies.rs"]
mod lies;
#[path = "mock_worker/snapshot.rs"]
mod snapshot;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use wpool::wire::frame::{Decoder, FrameKind, Head, VERSION};
use wpool::wire::message::{Ready, RunSetup, Setup};
use wpool::wire::page::Page;
use wpool::wire::run::Items;
use wpool::wire::socket;
use wpool::worker::WORKER_ARGUMENT;

use crate::lies::Liar;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some(WORKER_ARGUMENT) {
        return wpool::cli::main();
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_the_host_is_gone) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    // As the real one does: its process group is its own.
    let _leader = rustix::process::setsid();
    let stdin = io::stdin();
    let host = stdin.as_fd();
    let mut decoder = Decoder::new(1 << 30);
    let mut descriptors = Vec::new();
    let mut block = [0; 4096];
    let mut liar = None;
    loop {
        while let Some((head, payload)) = decoder.next_frame().map_err(io::Error::other)? {
            match (head.kind, &liar) {
                (FrameKind::Setup, _) => match serde_json::from_slice(&payload)? {
                    Setup::Compile(setup) => return compile::compile(host, &setup, &descriptors),
                    Setup::Snapshot(setup) => return snapshot::lie(host, &setup),
                    Setup::Run(setup) => liar = Some(begin(host, &setup, &mut descriptors)?),
                },
                (FrameKind::Task, Some(liar)) => liar.act(&head, &payload)?,
                (FrameKind::Run, Some(liar)) => {
                    for (nth, item) in (0..).zip(Items::read(&payload).expect("items")) {
                        liar.act(&Head { ticket: head.ticket + nth, index: head.index + nth, ..head }, item)?;
                    }
                }
                _ => {}
            }
        }
        match socket::receive(host, &mut block, &mut descriptors)? {
            0 => return Ok(()),
            read => decoder.buffer().extend_from_slice(&block[..read]),
        }
    }
}

fn begin<'h>(host: BorrowedFd<'h>, setup: &RunSetup, descriptors: &mut Vec<OwnedFd>) -> io::Result<Liar<'h>> {
    let file = File::from(descriptors.swap_remove(0));
    let page = Page::map(file.as_fd(), setup.task.limits.max_captured)?;
    hello(host, setup)?;
    Ok(Liar { host, page, file })
}

fn hello(host: BorrowedFd<'_>, setup: &RunSetup) -> io::Result<()> {
    let name = setup.task.targets[0].name.as_str();
    let mut ready = Ready { version: VERSION, layers: Vec::new(), missing: Vec::new() };
    match name {
        "silent-start" => {
            io::stderr().write_all(b"these are my last words\n")?;
            std::process::abort();
        }
        "loud-start" => {
            io::stderr().write_all(&b"\x1b[31m\xff\xe2\x80\xae".repeat(1_000))?;
            std::process::abort();
        }
        "other-version" => ready.version = VERSION + 1,
        "loud-layers" => {
            let layer = "\u{1b}]0;x\u{7}\u{202e}".repeat(100);
            ready.missing.push(wpool::wire::message::MissingLayer { layer: layer.clone(), why: layer });
        }
        "no-hello" => return send(host, &frame(Head::control(FrameKind::Ready, 0), b"{\"version\":[")),
        "wrong-hello" => return send(host, &frame(Head::control(FrameKind::Done, 0), b"{}")),
        "huge-hello" => {
            let mut bytes = Vec::new();
            Head::control(FrameKind::Ready, u32::MAX).put(&mut bytes);
            return send(host, &bytes);
        }
        _ => {}
    }
    send(host, &frame(Head::control(FrameKind::Ready, 0), &serde_json::to_vec(&ready)?))
}

fn send(host: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    socket::send_all(host.as_fd(), bytes, &[])
}

/// A frame with a length that is true.
fn frame(head: Head, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head { length: payload.len() as u32, ..head }.put(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}
