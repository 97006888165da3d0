//! What an item can order. Each order is its item's whole text; everything
//! else is given back as the item's value.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use wpool::outcome::{Failure, Form, Kind};
use wpool::wire::frame::{FrameKind, HEADER, Head};
use wpool::wire::page::{Page, Stream};
use wpool::wire::report::{Figures, put_report};
use wpool::wire::run::{Mark, put_values};
use wpool::wire::socket;

use crate::{frame, send};

/// Places of the page's counters, in bytes.
mod place {
    pub const RUNNING: u64 = 0;
    pub const BEGUN: u64 = 8;
    pub const FINISHED: u64 = 24;
    pub const STOP: u64 = 32;
    pub const PEAK: u64 = 40;
    pub const STDOUT: u64 = 48;
    pub const STDERR: u64 = 56;
}

pub const EVER: Duration = Duration::from_secs(600);

/// A worker under way.
pub struct Liar<'h> {
    pub host: BorrowedFd<'h>,
    pub page: Page,
    /// The page's memory, to be written without its rules.
    pub file: File,
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

fn report(head: &Head, figures: &Figures<'_>, result: Result<(Form, &[u8]), &Failure>) -> Vec<u8> {
    let mut out = Vec::new();
    put_report(&mut out, *head, figures, result);
    out
}

pub fn done(head: &Head, value: &[u8]) -> Vec<u8> {
    report(head, &figures(), Ok((Form::Json, value)))
}

fn values(head: &Head, marks: &[(u32, u32)], bytes: &[u8]) -> Vec<u8> {
    let marks: Vec<Mark> = marks.iter().map(|(end, wall_ns)| Mark { end: *end, wall_ns: *wall_ns }).collect();
    let mut out = Vec::new();
    put_values(&mut out, head, Form::Json, u64::MAX, u64::MAX, &marks, bytes);
    out
}

fn failed(head: &Head, json: &str) -> Vec<u8> {
    // The flag of a failure, and its figures.
    let head = Head { kind: FrameKind::Done, flags: 1 << 2, ..*head };
    frame(head, &[&[0; 32], json.as_bytes()].concat())
}

impl Liar<'_> {
    /// Does what the item says.
    pub fn act(&self, head: &Head, payload: &[u8]) -> io::Result<()> {
        let order: String = serde_json::from_slice(payload).unwrap_or_default();
        let (order, rest) = order.split_once(' ').unwrap_or((&order, ""));
        if !order.starts_with("idle-") {
            let _taken = self.page.start(head.ticket, 0);
        }
        let acted = self.dies(head, order)?
            || self.breaks_frames(head, order)?
            || self.lies_about_others(head, order)?
            || self.lies_in_calls(head, order)?
            || self.lies_in_reports(head, order)?
            || self.lies_in_values(head, order)?
            || self.forges_results(head, order)?
            || self.lies_in_page(head, order)?
            || self.leaves_things(head, order, rest)?;
        if !acted {
            send(self.host, &done(head, payload))?;
        }
        self.page.finish();
        Ok(())
    }

    fn set(&self, place: u64, value: u64) -> io::Result<()> {
        self.file.write_all_at(&value.to_ne_bytes(), place)
    }

    fn dies(&self, head: &Head, order: &str) -> io::Result<bool> {
        match order {
            "die" => std::process::abort(),
            "idle-death" => std::process::abort(),
            "idle-junk" => send(self.host, &[0x11; 100])?,
            "die-first" if head.attempt == 1 => std::process::abort(),
            "forbidden" => kill_process(getpid(), Signal::SYS)?,
            "exit" => std::process::exit(7),
            "hang" => std::thread::sleep(EVER),
            "stopped" => kill_process(getpid(), Signal::STOP)?,
            _ => return Ok(false),
        }
        Ok(order != "die-first")
    }

    fn breaks_frames(&self, head: &Head, order: &str) -> io::Result<bool> {
        let announced = |kind: u8, length: u32| {
            let mut bytes = Vec::new();
            Head { kind: FrameKind::Done, length, ..*head }.put(&mut bytes);
            bytes[0] = kind;
            bytes
        };
        match order {
            "huge-frame" => send(self.host, &announced(FrameKind::Done as u8, u32::MAX))?,
            "huge-unknown" => {
                send(self.host, &announced(200, u32::MAX))?;
                let block = vec![0; 1 << 20];
                (0..4096).try_for_each(|_| send(self.host, &block))?;
            }
            "unknown-flood" => {
                let block = announced(200, 0).repeat(1000);
                loop {
                    send(self.host, &block)?;
                }
            }
            "unknown-kind" => {
                send(self.host, &announced(200, 5))?;
                send(self.host, b"later")?;
                send(self.host, &done(head, b"\"after an unknown frame\""))?;
            }
            "half-frame" => {
                send(self.host, &done(head, b"\"a long value that is cut\"")[..HEADER + 20])?;
                std::thread::sleep(EVER);
            }
            "half-sent" => {
                send(self.host, &done(head, b"\"a long value that is cut\"")[..HEADER + 20])?;
                std::process::abort();
            }
            "half-head" => {
                send(self.host, &done(head, b"1")[..7])?;
                std::thread::sleep(EVER);
            }
            "one-byte-a-second" => {
                for byte in done(head, b"1") {
                    send(self.host, &[byte])?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            "hidden-trickle" => {
                self.page.finish();
                for byte in done(head, b"1") {
                    send(self.host, &[byte])?;
                    std::thread::sleep(Duration::from_millis(150));
                }
            }
            "junk" => send(self.host, &[0xA5; 100_000])?,
            "closed" => {
                rustix::net::shutdown(self.host, rustix::net::Shutdown::Both)?;
                std::thread::sleep(EVER);
            }
            "half-closed" => {
                rustix::net::shutdown(self.host, rustix::net::Shutdown::Write)?;
                std::thread::sleep(EVER);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn lies_about_others(&self, head: &Head, order: &str) -> io::Result<bool> {
        let other = |kind, ticket: u64| frame(Head { kind, ticket, ..*head }, b"");
        match order {
            "wrong-ticket" => send(self.host, &done(&Head { ticket: head.ticket + 1000, ..*head }, b"1"))?,
            "zero-ticket" => send(self.host, &done(&Head { ticket: 0, ..*head }, b"1"))?,
            "last-ticket" => send(self.host, &done(&Head { ticket: u64::MAX, ..*head }, b"1"))?,
            "old-ticket" => send(self.host, &done(&Head { ticket: head.ticket - 1, ..*head }, b"1"))?,
            "next-first" => {
                send(self.host, &done(&Head { ticket: head.ticket + 1, ..*head }, b"\"forged\""))?;
                send(self.host, &done(head, b"\"late\""))?;
            }
            "twice" => send(self.host, &[done(head, b"1"), done(head, b"2")].concat())?,
            "thrice" => send(self.host, &[values(head, &[(1, 0)], b"1"), done(head, b"2"), done(head, b"3")].concat())?,
            "unasked-return" => send(self.host, &other(FrameKind::Returned, head.ticket + 500))?,
            "own-return" => send(self.host, &other(FrameKind::Returned, head.ticket))?,
            "ready" => send(self.host, &other(FrameKind::Ready, 0))?,
            "setup" => send(self.host, &other(FrameKind::Setup, 0))?,
            "task" => send(self.host, &other(FrameKind::Task, head.ticket))?,
            "run" => send(self.host, &other(FrameKind::Run, head.ticket))?,
            "refused" => send(self.host, &other(FrameKind::Refused, 0))?,
            "compiled" => send(self.host, &other(FrameKind::Compiled, 0))?,
            "hello-again" => send(self.host, &frame(Head::control(FrameKind::Ready, 0), b"{}"))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn lies_in_reports(&self, head: &Head, order: &str) -> io::Result<bool> {
        let most = Figures {
            started_us: u64::MAX,
            wall_ns: u64::MAX,
            cpu_ns: u64::MAX,
            peak_memory: u64::MAX,
            fuel: Some(u64::MAX),
            ..figures()
        };
        let loud = b"\x1b]0;x\x07\xff\xe2\x80\xae\nerror: item 9: trap\r\n";
        let sent = match order {
            "short-report" => frame(Head { kind: FrameKind::Done, ..*head }, b"abc"),
            "odd-form" => frame(Head { kind: FrameKind::Done, flags: 3, ..*head }, &[0; 40]),
            "ok-failure" => report(head, &figures(), Err(&Failure::new(Kind::Ok, "I am fine"))),
            "odd-kind" => failed(head, r#"{"kind":"splendid","message":""}"#),
            "no-failure" => failed(head, "{"),
            "forged-time" => report(head, &most, Ok((Form::Json, b"1"))),
            "forged-failure-time" => report(head, &most, Err(&Failure::new(Kind::Trap, "so it says"))),
            "large-tail" => {
                let tail = vec![b'x'; 3 << 20];
                report(head, &Figures { stdout: &tail, ..figures() }, Ok((Form::Json, b"1")))
            }
            "long-tails" => {
                let mut bytes = report(head, &Figures { stdout: b"x", ..figures() }, Ok((Form::Json, b"1")));
                bytes[HEADER + 32..HEADER + 40].fill(0xff);
                bytes
            }
            "loud-tails" => {
                let failure = Failure::new(Kind::Error, String::from_utf8_lossy(loud));
                report(head, &Figures { stdout: loud, stderr: loud, ..figures() }, Err(&failure))
            }
            "long-message" => failed(head, &format!(r#"{{"kind":"trap","message":"{}"}}"#, "é".repeat(1 << 20))),
            "deep-detail" => {
                let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
                failed(head, &format!(r#"{{"kind":"error","message":"","detail":{{"value":{deep}}}}}"#))
            }
            "wide-detail" => {
                let wide = vec![r#"{"":0}"#; 150_000].join(",\n");
                failed(head, &format!(r#"{{"kind":"error","message":"","detail":{{"value":[{wide}]}}}}"#))
            }
            "many-frames" => {
                let frames = vec![r#"{"index":1}"#; 100_000].join(",");
                failed(head, &format!(r#"{{"kind":"trap","message":"","detail":{{"frames":[{frames}]}}}}"#))
            }
            _ => return Ok(false),
        };
        send(self.host, &sent)?;
        Ok(true)
    }

    fn lies_in_values(&self, head: &Head, order: &str) -> io::Result<bool> {
        let mut patched = values(head, &[(1, 0)], b"1");
        let count = HEADER + 16..HEADER + 20;
        let sent = match order {
            "forged-values" => values(head, &[(1, u32::MAX)], b"1"),
            "no-values" => values(head, &[], b""),
            "many-values" => values(head, &[(1, 0); 1000], b"1"),
            "two-values" => values(head, &[(1, 0), (2, 0)], b"12"),
            "falling-marks" => values(head, &[(2, 0), (1, 0)], b"12"),
            "far-mark" => values(head, &[(u32::MAX, 0)], b"1"),
            "unmarked-value" => values(head, &[(1, 0)], b"12"),
            "large-value" => values(head, &[(3 << 20, 0)], &vec![b'1'; 3 << 20]),
            "wrong-values" => values(&Head { ticket: head.ticket + 7, ..*head }, &[(1, 0)], b"1"),
            "short-values" => frame(Head { kind: FrameKind::Values, flags: 0, ..*head }, b"abc"),
            "odd-values" => {
                patched[1] = 77;
                patched
            }
            "counted-values" => {
                patched[count].fill(0xff);
                patched
            }
            _ => return Ok(false),
        };
        send(self.host, &sent)?;
        Ok(true)
    }

    fn forges_results(&self, head: &Head, order: &str) -> io::Result<bool> {
        let deep = || [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        let (value, form): (Vec<u8>, Form) = match order {
            "no-json" => (b"so to say".to_vec(), Form::Json),
            "no-value" => (Vec::new(), Form::Json),
            "two-jsons" => (b"1,2".to_vec(), Form::Json),
            "end-of-array" => (b"1]".to_vec(), Form::Json),
            "forged-line" => (b"1\n{\"v\":1,\"index\":9,\"kind\":\"ok\",\"value\":1}".to_vec(), Form::Json),
            "forged-record" => (b"1,\"index\":9,\"kind\":\"trap\"".to_vec(), Form::Json),
            "no-utf8" => (b"\"\xff\xfe\"".to_vec(), Form::Json),
            "no-utf8-text" => (b"\xff\xfe\x1b[2J".to_vec(), Form::Text),
            "controls" => ("\"\u{7f}\u{9b}2J\u{202e}\"".as_bytes().to_vec(), Form::Json),
            "raw-controls" => (b"\"\x1b[2J\"".to_vec(), Form::Json),
            "deep" => (deep(), Form::Json),
            "half-deep" => (b"[".repeat(500_000), Form::Json),
            "over-limit" => (vec![b'1'; 3 << 20], Form::Json),
            _ => return Ok(false),
        };
        send(self.host, &report(head, &figures(), Ok((form, &value))))?;
        Ok(true)
    }

    fn lies_in_page(&self, head: &Head, order: &str) -> io::Result<bool> {
        match order {
            "flips" => loop {
                self.set(place::RUNNING, head.ticket + 1)?;
                std::thread::sleep(Duration::from_millis(2));
                self.set(place::RUNNING, head.ticket)?;
                std::thread::sleep(Duration::from_millis(2));
            },
            "blinks" => loop {
                self.page.finish();
                std::thread::sleep(Duration::from_millis(2));
                let _taken = self.page.start(head.ticket, u64::MAX);
                std::thread::sleep(Duration::from_millis(2));
            },
            "runs-ahead" => {
                for ahead in 1.. {
                    self.set(place::RUNNING, head.ticket + ahead)?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            "runs-what-is-not-there" => {
                self.set(place::RUNNING, u64::MAX)?;
                std::thread::sleep(EVER);
            }
            "begun-all" => {
                self.set(place::BEGUN, u64::MAX)?;
                std::thread::sleep(EVER);
            }
            "begun-none" => {
                self.set(place::BEGUN, 0)?;
                self.set(place::STOP, 0)?;
                std::thread::sleep(EVER);
            }
            "hides-and-dies" => {
                self.set(place::RUNNING, 0)?;
                std::process::abort();
            }
            "hides-and-lies" => {
                self.set(place::RUNNING, 0)?;
                send(self.host, &done(&Head { ticket: head.ticket + 99, ..*head }, b"1"))?;
            }
            "blames-and-dies" => {
                self.set(place::RUNNING, head.ticket + 1)?;
                std::process::abort();
            }
            "printed-all" => {
                self.page.print(Stream::Stdout, b"\x1b[2J");
                self.set(place::STDOUT, u64::MAX)?;
                self.set(place::STDERR, u64::MAX - 3)?;
                self.set(place::PEAK, u64::MAX)?;
                self.set(place::FINISHED, u64::MAX)?;
                std::process::abort();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn leaves_things(&self, head: &Head, order: &str, rest: &str) -> io::Result<bool> {
        match order {
            "descriptors" => {
                // Descriptors beside every part of the answer, and of junk.
                let held = [self.file.as_fd(); 28];
                for _ in 0..200 {
                    let mut unknown = frame(Head { kind: FrameKind::Done, ..*head }, b"");
                    unknown[0] = 200;
                    socket::send_all(self.host, &unknown, &held)?;
                }
                socket::send_all(self.host, &done(head, b"1"), &held)?;
            }
            // What it started has the socket as its standard input.
            "leaves-child" => {
                let child = Command::new("/bin/sleep").arg("600").stdin(Stdio::inherit()).spawn()?;
                File::create(rest)?.write_all(child.id().to_string().as_bytes())?;
                std::process::exit(1);
            }
            "leaves-talker" => {
                let loud = "while :; do printf x >&0; done";
                let child = Command::new("/bin/sh").args(["-c", loud]).stdin(Stdio::inherit()).spawn()?;
                File::create(rest)?.write_all(child.id().to_string().as_bytes())?;
                std::process::exit(1);
            }
            "stays" => {
                // In a shell that heeds no polite signal.
                let script = format!("trap '' TERM INT HUP PIPE; echo $$ >'{rest}'; exec sleep 600 <&0");
                let error = std::os::unix::process::CommandExt::exec(
                    Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::inherit()),
                );
                return Err(error);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
