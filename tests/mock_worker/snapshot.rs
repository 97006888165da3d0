//! Snapshots that are none: the initializer's name says which lie.

use std::io;
use std::os::fd::BorrowedFd;

use wpool::outcome::Form;
use wpool::wire::frame::{FrameKind, Head, INITIALIZER_TICKET, VERSION};
use wpool::wire::message::{Ready, SnapshotSetup};
use wpool::wire::report::{Figures, put_report};

use crate::{frame, send};

pub fn lie(host: BorrowedFd<'_>, setup: &SnapshotSetup) -> io::Result<()> {
    let initializer = setup.run.task.initializer.as_ref().expect("what to run");
    let ready = Ready { version: VERSION, layers: Vec::new(), missing: Vec::new() };
    send(host, &frame(Head::control(FrameKind::Ready, 0), &serde_json::to_vec(&ready)?))?;
    let part = |bytes: &[u8]| send(host, &frame(Head::control(FrameKind::Snapshot, 0), bytes));
    match initializer.target.name.as_str() {
        // For a call that it was not asked for.
        "other-ticket" => done(host, INITIALIZER_TICKET + 1)?,
        "no-report" => send(host, &frame(Head::control(FrameKind::Done, 0), b"x"))?,
        "no-module" => {
            done(host, INITIALIZER_TICKET)?;
            part(b"\0asm and then nothing")?;
            part(b"")?;
        }
        "nothing" => {
            done(host, INITIALIZER_TICKET)?;
            part(b"")?;
        }
        "endless" => {
            done(host, INITIALIZER_TICKET)?;
            let block = vec![0; 1 << 20];
            loop {
                part(&block)?;
            }
        }
        "dies" => std::process::abort(),
        _ => {}
    }
    // Whoever waits for more is not kept waiting for ever.
    loop {
        std::thread::park();
    }
}

fn done(host: BorrowedFd<'_>, ticket: u64) -> io::Result<()> {
    let figures = Figures {
        started_us: 0,
        wall_ns: 0,
        cpu_ns: 0,
        peak_memory: 0,
        fuel: None,
        stdout: b"",
        stderr: b"",
        truncated: false,
    };
    let mut bytes = Vec::new();
    let head = Head { ticket, ..Head::control(FrameKind::Done, 0) };
    put_report(&mut bytes, head, &figures, Ok((Form::Json, b"null")));
    send(host, &bytes)
}
