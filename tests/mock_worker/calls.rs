//! Lies in what a running task says to its host. The pool shares a counter, at
//! place 0, and an event, at place 1.

use std::io;

use wpool::wire::frame::{FrameKind, Head};
use wpool::wire::objects::{Call, Level, Note, Request, Wait};

use crate::lies::{EVER, Liar, done};
use crate::{frame, send};

impl Liar<'_> {
    pub fn lies_in_calls(&self, head: &Head, order: &str) -> io::Result<bool> {
        let named = |ticket: u64, kind: FrameKind, payload: &[u8]| frame(Head { kind, ticket, ..*head }, payload);
        let call = |object, request| named(head.ticket, FrameKind::Call, &Call::Object(object, request).to_bytes());
        let remaining = Call::Remaining.to_bytes();
        let line = Note::Line(Level::Error, "\u{1b}]0;x\u{7}\nerror: item 9: forged".to_owned()).to_bytes();
        let ended = match order {
            "call-junk" => named(head.ticket, FrameKind::Call, b"\xff\xff\xff"),
            "call-empty" => named(head.ticket, FrameKind::Call, b""),
            "call-other-ticket" => named(head.ticket + 5, FrameKind::Call, &remaining),
            "call-of-nothing" => call(99, Request::Count),
            "call-of-another-kind" => call(0, Request::Release),
            "call-twice" => [call(1, Request::Await(Wait::Ever)), call(0, Request::Count)].concat(),
            "call-deaf" => {
                let block = named(head.ticket, FrameKind::Call, &remaining).repeat(1000);
                loop {
                    send(self.host, &block)?;
                }
            }
            "answer" => named(head.ticket, FrameKind::Answer, b"\x01"),
            "note-junk" => named(head.ticket, FrameKind::Note, b"\x07"),
            "note-long" => named(head.ticket, FrameKind::Note, &[&[1, 0], &[b'x'; 5000][..]].concat()),
            "note-other-ticket" => named(head.ticket + 5, FrameKind::Note, &line),
            "call-and-done" => [call(1, Request::Await(Wait::Ever)), done(head, b"1")].concat(),
            "note-flood" => {
                let progress = named(head.ticket, FrameKind::Note, &Note::Progress(1, u64::MAX).to_bytes());
                let block = [named(head.ticket, FrameKind::Note, &line), progress].concat().repeat(1000);
                (0..30).try_for_each(|_| send(self.host, &block))?;
                done(head, b"1")
            }
            "call-and-hang" => {
                send(self.host, &call(1, Request::Await(Wait::Ever)))?;
                std::thread::sleep(EVER);
                Vec::new()
            }
            _ => return Ok(false),
        };
        send(self.host, &ended)?;
        Ok(true)
    }
}
