//! Runs under a real terminal with a real shell: keys typed as bytes, job
//! control, a terminal that goes away.

#![expect(unsafe_code, reason = "rustix's terminals are a feature, and another set of features is another wasmtime")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PATIENCE, eventually, is_alive, is_stopped};
use crate::hostile::{Arena, born, workers_of};
use crate::support::children_of;

const CTRL_C: &[u8] = b"\x03";
const CTRL_Z: &[u8] = b"\x1a";

/// Counts for half a second or so; 99 never ends.
const BUSY: &str = r#"(module (func (export "run") (param i32) (result i32) (local i32)
    (if (i32.eq (local.get 0) (i32.const 99)) (then (loop (br 0))))
    (local.set 1 (i32.const 1500000000))
    (loop $next
      (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
      (br_if $next (local.get 1)))
    (local.get 0)))"#;

/// Items of a run that is suspended.
const ITEMS: usize = 40;

/// A terminal, and what runs in it as leader of its session.
struct Terminal {
    arena: Arena,
    master: Arc<File>,
    said: Arc<Mutex<Vec<u8>>>,
    closing: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    leader: Child,
    slave: PathBuf,
}

/// Opens a terminal, or what makes one, without becoming its process.
fn open(path: &Path) -> File {
    File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).unwrap()
}

/// A new terminal: its other side, and its name.
fn pair() -> (File, PathBuf) {
    let master = open(Path::new("/dev/ptmx"));
    let (unlocked, mut number): (libc::c_int, libc::c_uint) = (0, 0);
    // SAFETY: both calls take a pointer to a number, which lives through them.
    unsafe {
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked), 0);
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number), 0);
    }
    (master, PathBuf::from(format!("/dev/pts/{number}")))
}

impl Terminal {
    /// A terminal with an interactive shell.
    fn with_shell() -> Self {
        Self::with(&["sh", "-i"])
    }

    fn with(line: &[&str]) -> Self {
        let arena = Arena::new();
        arena.write("busy.wat", BUSY);
        arena.attack("warm", &["compile", "busy.wat"]);
        let (master, slave) = pair();
        let end = open(&slave);
        let copy = || Stdio::from(end.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(line).current_dir(arena.path(".")).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("PS1", "$ ").env("TERM", "xterm").env("HISTFILE", "/dev/null");
        command.env("WPOOL", crate::support::binary()).env("WPOOL_CACHE_DIR", arena.path("cache"));
        let leader = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        let (master, said, closing) = (Arc::new(master), Arc::default(), Arc::<AtomicBool>::default());
        let reader = reader(Arc::clone(&master), Arc::clone(&said), Arc::clone(&closing));
        Self { arena, master, said, closing, reader: Some(reader), leader, slave }
    }

    fn type_in(&self, keys: &[u8]) {
        (&*self.master).write_all(keys).unwrap();
    }

    /// What was shown so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// How much was shown so far: what comes after is new.
    fn mark(&self) -> usize {
        self.text().len()
    }

    /// Waits until something is shown after a mark.
    #[track_caller]
    fn shows(&self, after: usize, text: &str) {
        let started = Instant::now();
        while !self.text().get(after..).is_some_and(|shown| shown.contains(text)) {
            assert!(started.elapsed() < PATIENCE, "no {text:?} in {:?}", &self.text()[after..]);
            std::thread::sleep(super::LOOK);
        }
    }

    /// Types a command that leaves its mark, and waits for it.
    #[track_caller]
    fn ask(&self, command: &str, answer: &str) {
        let before = self.mark();
        self.type_in(format!("{command}\n").as_bytes());
        self.shows(before, answer);
    }

    /// The terminal's modes, as the shell sees them while it runs a command.
    fn modes(&self) -> String {
        let _ = std::fs::remove_file(self.arena.path("modes"));
        self.ask("stty -g > modes; echo st''ty", "stty\r\n");
        self.arena.0.read("modes")
    }

    /// The run that the shell has started.
    fn host(&self) -> u32 {
        eventually("a run", || {
            let named = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().starts_with(b"/");
            children_of(self.leader.id()).into_iter().find(named).map(i32::unsigned_abs)
        })
    }

    fn close(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        // The last holder of the terminal's other end.
        self.master = Arc::new(File::open("/dev/null").unwrap());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
        let _gone = self.leader.kill();
        let _gone = self.leader.wait();
        if std::thread::panicking() {
            println!("the terminal {} showed: {:?}", self.slave.display(), self.text());
        }
    }
}

/// Reads what a terminal shows until it is closed.
fn reader(master: Arc<File>, said: Arc<Mutex<Vec<u8>>>, closing: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut block = [0; 4096];
        while !closing.load(Ordering::SeqCst) {
            let mut polled = [PollFd::from_borrowed_fd(master.as_fd(), PollFlags::IN)];
            let wait = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            if poll(&mut polled, Some(&wait)).unwrap_or(0) == 0 {
                continue;
            }
            match (&*master).read(&mut block) {
                Ok(read) if read > 0 => said.lock().unwrap().extend_from_slice(&block[..read]),
                _ => return,
            }
        }
    })
}

fn workers(host: u32) -> Vec<(i32, String)> {
    children_of(host).into_iter().filter_map(|pid| Some((pid, born(pid)?))).collect()
}

/// Waits until a run has written some whole lines.
fn some_lines(terminal: &Terminal, name: &str) {
    eventually("a result", || {
        let text = std::fs::read_to_string(terminal.arena.path(name)).unwrap_or_default();
        text.contains('\n').then_some(())
    });
}

/// What a run has written are the first numbers, each on a line of its own.
#[track_caller]
fn whole_lines(terminal: &Terminal, name: &str) -> usize {
    let text = terminal.arena.0.read(name);
    let expected: String = (0..text.lines().count()).map(|number| format!("{number}\n")).collect();
    assert_eq!(text, expected);
    expected.lines().count()
}

fn send(signal: Signal, pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn signals_end_a_run_with_their_code_and_whole_lines() {
    let numbers = serde_json::to_string(&(0..40).collect::<Vec<u32>>()).unwrap();
    for (name, signal, code) in [("^C", None, 130), ("TERM", Some(Signal::TERM), 143), ("HUP", Some(Signal::HUP), 129)]
    {
        let terminal = Terminal::with_shell();
        terminal.arena.write("items.json", &numbers);
        let modes = terminal.modes();
        let before = terminal.mark();
        terminal.type_in(b"\"$WPOOL\" run busy.wat --imap items.json -j2 > out.jsonl\n");
        some_lines(&terminal, "out.jsonl");
        let host = terminal.host();
        let workers = workers(host);
        assert!(!workers.is_empty());
        match signal {
            None => terminal.type_in(CTRL_C),
            Some(signal) => send(signal, host),
        }
        terminal.shows(before, "interrupted;");
        terminal.ask("echo code=$?", &format!("code={code}\r\n"));
        let lines = whole_lines(&terminal, "out.jsonl");
        assert!((1..40).contains(&lines), "{name}: {lines} lines");
        assert!(!workers.iter().any(|(pid, birth)| is_alive(*pid, birth)), "{name}: workers are left");
        assert_eq!(terminal.modes(), modes, "{name}: the terminal is as it was");
    }
}

#[test]
fn a_second_ctrl_c_ends_a_run_at_once() {
    let terminal = Terminal::with_shell();
    let modes = terminal.modes();
    let before = terminal.mark();
    terminal.type_in(b"\"$WPOOL\" run busy.wat --imap '[0,1,99,99]' -j2 --grace 1h --timeout none > out.jsonl\n");
    eventually("two results", || (lines(&terminal) == 2).then_some(()));
    terminal.type_in(CTRL_C);
    terminal.shows(before, "interrupt again");
    terminal.type_in(CTRL_C);
    terminal.ask("echo code=$?", "code=130\r\n");
    assert_eq!(whole_lines(&terminal, "out.jsonl"), 2);
    assert_eq!(terminal.modes(), modes);
}

fn lines(terminal: &Terminal) -> usize {
    std::fs::read_to_string(terminal.arena.path("out.jsonl")).unwrap_or_default().lines().count()
}

#[test]
fn ctrl_z_stops_workers_and_clocks_and_fg_goes_on() {
    let terminal = Terminal::with_shell();
    let modes = terminal.modes();
    let before = terminal.mark();
    // Each item takes far less than it may, and enough to be caught at it.
    let items = serde_json::to_string(&(0..ITEMS).collect::<Vec<usize>>()).unwrap();
    terminal.arena.write("items.json", items);
    terminal.arena.write("brief.wat", BUSY.replace("1500000000", "300000000"));
    terminal.type_in(b"\"$WPOOL\" run brief.wat --imap items.json -j2 --timeout 5s --stats-file s > out.jsonl\n");
    some_lines(&terminal, "out.jsonl");
    terminal.shows(before, "/40 ");
    let host = terminal.host();
    terminal.type_in(CTRL_Z);
    terminal.shows(before, "Stopped");
    assert!(is_stopped(host));
    // The signal is on its way to threads that may be waiting for a processor.
    eventually("workers that stand still", || {
        let workers = workers(host);
        (!workers.is_empty() && workers.iter().all(|(pid, _)| is_stopped(pid.unsigned_abs()))).then_some(())
    });
    let done = lines(&terminal);
    assert!(done < ITEMS);
    // Longer than any item may take.
    std::thread::sleep(Duration::from_millis(5_500));
    assert_eq!(lines(&terminal), done, "nothing goes on meanwhile");
    let before = terminal.mark();
    terminal.type_in(b"fg\n");
    terminal.shows(before, "/40 ");
    terminal.ask("echo code=$?", "code=0\r\n");
    assert_eq!(whole_lines(&terminal, "out.jsonl"), ITEMS);
    let stats: Value = serde_json::from_str(&terminal.arena.0.read("s")).unwrap();
    assert_eq!((&stats["stats"]["workers"]["died"], &stats["stats"]["retried"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(terminal.modes(), modes);
}

#[test]
fn a_suspended_run_can_go_on_in_the_background_or_be_ended() {
    let terminal = Terminal::with_shell();
    let before = terminal.mark();
    terminal.type_in(b"\"$WPOOL\" run busy.wat --imap '[0,1,2]' -j1 > out.jsonl\n");
    some_lines(&terminal, "out.jsonl");
    terminal.type_in(CTRL_Z);
    terminal.shows(before, "Stopped");
    terminal.ask("bg; wait; echo fin''ished", "finished\r\n");
    assert_eq!(whole_lines(&terminal, "out.jsonl"), 3);
    terminal.type_in(b"\"$WPOOL\" run busy.wat --imap '[0,99]' -j1 --grace 1s > out.jsonl\n");
    eventually("an empty output", || (lines(&terminal) == 0).then_some(()));
    some_lines(&terminal, "out.jsonl");
    let host = terminal.host();
    let left = workers(host);
    let before = terminal.mark();
    terminal.type_in(CTRL_Z);
    terminal.shows(before, "Stopped");
    // Stopped, it heeds the signal when it goes on; a kill needs no leave.
    send(Signal::TERM, host);
    terminal.ask("fg; echo code=$?", "code=143\r\n");
    assert!(!left.iter().any(|(pid, birth)| is_alive(*pid, birth)), "workers are left");
}

#[test]
fn ctrl_z_is_nothing_where_nobody_could_say_fg() {
    let binary = crate::support::binary();
    let line = [binary.to_str().unwrap(), "run", "busy.wat", "--imap", "[0,1,2]", "-j1", "-o", "out.jsonl"];
    let mut terminal = Terminal::with(&line);
    eventually("a worker", || (!workers_of(&terminal.leader).is_empty()).then_some(()));
    terminal.type_in(CTRL_Z);
    let status = eventually("the end of the run", || terminal.leader.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(whole_lines(&terminal, "out.jsonl"), 3);
}

#[test]
fn a_terminal_that_goes_away_ends_the_run() {
    let mut terminal = Terminal::with_shell();
    terminal.type_in(b"\"$WPOOL\" run busy.wat --imap '[0,99,99]' -j2 --grace 1s --timeout none > out.jsonl\n");
    some_lines(&terminal, "out.jsonl");
    let host = terminal.host();
    let birth = born(host.cast_signed()).unwrap();
    let left = workers(host);
    assert!(!left.is_empty());
    terminal.close();
    eventually("the end of the run", || (!is_alive(host.cast_signed(), &birth)).then_some(()));
    eventually("the end of its workers", || (!left.iter().any(|(pid, birth)| is_alive(*pid, birth))).then_some(()));
    assert_eq!(whole_lines(&terminal, "out.jsonl"), 1);
}
