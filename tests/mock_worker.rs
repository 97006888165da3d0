//! A worker that lies: it speaks the wire and does what each item tells it
//! to. For tests of what the host believes; never installed.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test's worker: its panics and exits are meant")]

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use wpool::outcome::{Failure, Form, Kind};
use wpool::wire::frame::{Decoder, FrameKind, HEADER, Head, VERSION};
use wpool::wire::message::{Ready, RunSetup, Setup};
use wpool::wire::page::Page;
use wpool::wire::report::{Figures, put_report};
use wpool::wire::run::{Mark, put_values};
use wpool::wire::socket;

fn main() -> io::Result<()> {
    let stdin = io::stdin();
    let host = stdin.as_fd();
    let mut decoder = Decoder::new(1 << 30);
    let mut descriptors = Vec::new();
    let mut block = [0; 4096];
    let mut page = None;
    loop {
        while let Some((head, payload)) = decoder.next_frame().map_err(io::Error::other)? {
            match head.kind {
                FrameKind::Setup => {
                    let Setup::Run(setup) = serde_json::from_slice(&payload)? else { return Ok(()) };
                    let file = descriptors.first().expect("the page");
                    page = Some(Page::map(AsFd::as_fd(file), setup.task.limits.max_captured)?);
                    hello(host, &setup)?;
                }
                FrameKind::Task => act(host, &head, &payload, page.as_ref().expect("set up"))?,
                _ => {}
            }
        }
        match socket::receive(host, &mut block, &mut descriptors)? {
            0 => return Ok(()),
            read => decoder.buffer().extend_from_slice(&block[..read]),
        }
    }
}

fn send(host: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    socket::send_all(host.as_fd(), bytes, &[])
}

fn hello(host: impl AsFd, setup: &RunSetup) -> io::Result<()> {
    let name = setup.task.targets[0].name.as_str();
    if name == "silent-start" {
        io::stderr().write_all(b"these are my last words\n")?;
        std::process::abort();
    }
    let version = if name == "other-version" { VERSION + 1 } else { VERSION };
    let payload = serde_json::to_vec(&Ready { version, layers: Vec::new(), missing: Vec::new() })?;
    let mut bytes = Vec::new();
    Head::control(FrameKind::Ready, payload.len() as u32).put(&mut bytes);
    bytes.extend_from_slice(&payload);
    send(host, &bytes)
}

fn figures() -> Figures<'static> {
    Figures {
        started_us: 1,
        wall_ns: 1,
        cpu_ns: 1,
        peak_memory: 0,
        fuel: None,
        stdout: b"",
        stderr: b"",
        truncated: false,
    }
}

fn done(head: &Head, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_report(&mut out, *head, &figures(), Ok((Form::Json, value)));
    out
}

fn act(host: impl AsFd, head: &Head, payload: &[u8], page: &Page) -> io::Result<()> {
    let host = host.as_fd();
    let order: String = serde_json::from_slice(payload).unwrap_or_default();
    let mut head = *head;
    if order != "idle-death" {
        let _taken = page.start(head.ticket, 0);
    }
    match order.as_str() {
        "die" | "idle-death" => std::process::abort(),
        "die-first" if head.attempt == 1 => std::process::abort(),
        "forbidden" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::SYS)?,
        "exit" => std::process::exit(7),
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        "stopped" => {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        }
        "wrong-ticket" => {
            head.ticket += 1000;
            send(host, &done(&head, b"1"))?;
        }
        "twice" => {
            send(host, &done(&head, b"1"))?;
            send(host, &done(&head, b"2"))?;
        }
        "huge-frame" => {
            let mut bytes = Vec::new();
            head.kind = FrameKind::Done;
            head.length = u32::MAX;
            head.put(&mut bytes);
            send(host, &bytes)?;
        }
        "half-frame" => {
            send(host, &done(&head, b"\"a long value that is cut\"")[..HEADER + 20])?;
            std::thread::sleep(Duration::from_secs(600));
        }
        "junk" => send(host, &[0xA5; 100_000])?,
        "short-report" => {
            let mut bytes = Vec::new();
            head.kind = FrameKind::Done;
            head.length = 3;
            head.put(&mut bytes);
            bytes.extend_from_slice(b"abc");
            send(host, &bytes)?;
        }
        "ok-failure" => {
            let mut bytes = Vec::new();
            let failure = Failure::new(Kind::Ok, "I am fine");
            put_report(&mut bytes, head, &figures(), Err(&failure));
            send(host, &bytes)?;
        }
        "hello-again" => hello_again(host)?,
        "unasked-return" => {
            head.kind = FrameKind::Returned;
            head.length = 0;
            head.ticket += 500;
            let mut bytes = Vec::new();
            head.put(&mut bytes);
            send(host, &bytes)?;
        }
        "one-byte-a-second" => {
            for byte in done(&head, b"1") {
                send(host, &[byte])?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        "unknown-kind" => {
            let mut bytes = Vec::new();
            Head::control(FrameKind::Ready, 5).put(&mut bytes);
            bytes[0] = 200;
            bytes.extend_from_slice(b"later");
            send(host, &bytes)?;
            send(host, &done(&head, b"\"after an unknown frame\""))?;
        }
        "forged-time" => {
            let mut figures = figures();
            figures.wall_ns = u64::MAX;
            figures.cpu_ns = u64::MAX;
            figures.started_us = u64::MAX;
            let mut bytes = Vec::new();
            put_report(&mut bytes, head, &figures, Ok((Form::Json, b"1")));
            send(host, &bytes)?;
        }
        "forged-values" => {
            let mut bytes = Vec::new();
            let mark = Mark { end: 1, wall_ns: u32::MAX };
            put_values(&mut bytes, &head, Form::Json, u64::MAX, 0, &[mark], b"1");
            send(host, &bytes)?;
        }
        "hidden-trickle" => {
            page.finish();
            for byte in done(&head, b"1") {
                send(host, &[byte])?;
                std::thread::sleep(Duration::from_millis(150));
            }
        }
        other => send(host, &done(&head, serde_json::to_string(other)?.as_bytes()))?,
    }
    page.finish();
    Ok(())
}

fn hello_again(host: impl AsFd) -> io::Result<()> {
    let mut bytes = Vec::new();
    Head::control(FrameKind::Ready, 2).put(&mut bytes);
    bytes.extend_from_slice(b"{}");
    send(host, &bytes)
}
