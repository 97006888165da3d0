//! One worker process: started, spoken to before it takes tasks, killed,
//! reaped. The only place that starts processes.

#![expect(unsafe_code, reason = "what a worker used, by wait4 and its clock, has no safe form")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};

use crate::pool::suspend;
use crate::wire::frame::{Decoder, FrameKind, HEADER, Head};
use crate::wire::message::Setup;
use crate::wire::socket;
use crate::worker::WORKER_ARGUMENT;

/// A frame of set-up answers is never larger than this, in bytes.
const MAX_ANSWER: u32 = 64 << 20;

/// Bytes of a dead worker's stderr that are kept.
const LAST_WORDS: usize = 4096;

/// A running worker process and the host's end of its socket.
#[derive(Debug)]
pub struct Process {
    child: Option<Child>,
    pid: Pid,
    socket: OwnedFd,
    decoder: Decoder,
}

/// How a process ended, and what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The exit code, where it exited.
    pub code: Option<i32>,
    /// The signal, where one ended it.
    pub signal: Option<i32>,
    /// Processor time of its whole life.
    pub cpu: Duration,
}

/// The binary that workers are started from: the running one, by a name that
/// stays right when the file is replaced.
#[must_use]
pub fn own_binary() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Bytes of a socket's buffer, of which the system doubles the number: where
/// only a large item fits, its sender and its receiver take turns.
const SEND_BUFFER: usize = 256 << 10;

impl Process {
    /// Starts `binary` as a worker with a private socketpair as its stdin, no
    /// environment, and nothing else inherited.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(binary: &Path) -> io::Result<Self> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        for end in [&ours, &theirs] {
            // What the system allows has to do.
            let _less = rustix::net::sockopt::set_socket_send_buffer_size(end, SEND_BUFFER);
        }
        #[expect(clippy::disallowed_methods, reason = "the one place that starts processes")]
        let mut command = Command::new(binary);
        command
            .arg0(OsStr::new("wpool-worker"))
            .arg(WORKER_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .current_dir("/");
        let child = command.spawn()?;
        // The command holds the child's end of the socket: a dead child would
        // never show as end of stream while it lives.
        drop(command);
        let pid = Pid::from_child(&child);
        Ok(Self { child: Some(child), pid, socket: ours, decoder: Decoder::new(MAX_ANSWER) })
    }

    /// The worker's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The host's end of the socket.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends the set-up with its descriptors. Blocks.
    ///
    /// # Errors
    /// When the worker is gone.
    pub fn send(&self, setup: &Setup, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let payload = serde_json::to_vec(setup).map_err(io::Error::other)?;
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        Head::control(FrameKind::Setup, length).put(&mut bytes);
        bytes.put_slice(&payload);
        socket::send_all(self.socket(), &bytes, descriptors)
    }

    /// Asks for something that needs no payload. Blocks.
    ///
    /// # Errors
    /// When the worker is gone.
    pub fn ask(&self, head: &Head) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER);
        head.put(&mut bytes);
        socket::send_all(self.socket(), &bytes, &[])
    }

    /// Takes answers of up to `limit` bytes from here on.
    pub fn expect_up_to(&mut self, limit: u32) {
        self.decoder.set_limit(limit);
    }

    /// Processor time so far.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        cpu_clock(self.pid())
    }

    /// It has locked itself in, and stands still while the run is suspended.
    pub fn locked_in(&self) {
        suspend::ready(self.pid);
    }

    /// Waits up to `timeout` for the next frame. `Ok(None)` is the end of the
    /// stream: the worker is gone or going.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when nothing came in time; `InvalidData`
    /// when what came is no frame.
    pub fn receive(&mut self, timeout: Duration) -> io::Result<Option<(Head, Bytes)>> {
        let until = suspend::now() + timeout;
        loop {
            if let Some(frame) =
                self.decoder.next_frame().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            {
                return Ok(Some(frame));
            }
            let left = until.saturating_sub(suspend::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
            if poll(&mut polled, Some(&left)).or_else(ignore_interrupt)? == 0 {
                continue;
            }
            let mut block = [0; 16 << 10];
            match socket::read(&self.socket, &mut block) {
                Ok(0) => return Ok(None),
                Ok(read) => self.decoder.buffer().extend_from_slice(&block[..read]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands over the socket's decoder with whatever came after the answer.
    pub fn take_decoder(&mut self) -> Decoder {
        std::mem::replace(&mut self.decoder, Decoder::new(0))
    }

    /// Makes reads and writes of the socket return instead of waiting.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.socket, true).map_err(Into::into)
    }

    /// Kills the process at once. A process that is gone already is no error.
    pub fn kill(&self) {
        if self.child.is_some() {
            // The only error is that it is gone: it is still ours to reap, so
            // the id cannot name another process, nor the group that a worker
            // leads from its first step on. In it is whatever it has started,
            // where nothing keeps it from that.
            let _gone = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _gone = rustix::process::kill_process(self.pid, Signal::KILL);
        }
    }

    /// Closes our end, waits for the process to end, and reaps it. The caller
    /// has killed it or seen its end of stream.
    pub fn reap(&mut self) -> (Ended, Vec<u8>) {
        let Some(mut child) = self.child.take() else { return (Ended::default(), Vec::new()) };
        let words = child.stderr.take().map(|pipe| last_words(&pipe)).unwrap_or_default();
        suspend::ending(self.pid);
        (wait(self.pid), words)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let (_ended, _words) = self.reap();
    }
}

/// What the pipe holds now, without waiting for more.
fn last_words(pipe: &(impl AsFd + AsRawFd)) -> Vec<u8> {
    let mut kept = Vec::new();
    if rustix::io::ioctl_fionbio(pipe, true).is_err() {
        return kept;
    }
    let mut block = [0; LAST_WORDS];
    // A pipe holds 64 KiB; more means a worker that still writes.
    for _block in 0..32 {
        match rustix::io::read(pipe, &mut block) {
            Ok(read) if read > 0 => kept.extend_from_slice(&block[..read]),
            _ => break,
        }
    }
    let from = kept.len().saturating_sub(LAST_WORDS);
    kept.split_off(from)
}

fn ignore_interrupt(errno: rustix::io::Errno) -> rustix::io::Result<usize> {
    if errno == rustix::io::Errno::INTR { Ok(0) } else { Err(errno) }
}

/// Reaps `pid` with the resources it used, which std and rustix do not tell.
fn wait(pid: Pid) -> Ended {
    let mut status = 0;
    // SAFETY: `rusage` is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals of the right types; the pid
        // is of a child that nothing else waits for.
        let waited = unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, 0, &raw mut usage) };
        if waited >= 0 {
            break;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Ended::default();
        }
    }
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    Ended { code, signal, cpu }
}

/// Processor time of a process so far.
fn cpu_clock(pid: i32) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: the pointer is to a live local of the right type. rustix does
    // not offer the clock of another process.
    if unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as above.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}
