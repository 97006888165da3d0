//! Ctrl-C and its kin in two stages: the first asks to finish, the second to
//! stop at once. A run that does neither is ended from here. Ctrl-Z suspends
//! the workers and the clocks with the host.

#![expect(unsafe_code, reason = "to stop as any program does, a signal's default action is put back for a moment")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use libc::SIGXFSZ;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};

use crate::pool::suspend;

/// What a run may take beyond its grace, or after a second signal, before it
/// is ended as it is: to kill workers and write what is done.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same before there are tasks.
const EARLY: Duration = Duration::from_millis(500);

/// How urgently the run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody asked.
    None,
    /// Feed no more, let what runs finish.
    Drain,
    /// Kill what runs.
    Kill,
}

#[derive(Debug, Default)]
struct State {
    count: AtomicUsize,
    first: AtomicI32,
    /// Tasks may be running.
    working: AtomicBool,
}

/// Listens for signals while it lives.
#[derive(Debug)]
pub struct Listener {
    state: Arc<State>,
    stop: Arc<AtomicBool>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    /// Its end tells the watchdogs that the run is over.
    over: Option<Sender<()>>,
}

impl Listener {
    /// Begins to listen. Signals that our parent had us ignore, as `nohup`
    /// does, stay ignored.
    ///
    /// # Errors
    /// When a handler or the thread cannot be had.
    pub fn start(grace: Duration) -> io::Result<Self> {
        let ignored = ignored();
        let wanted = [SIGINT, SIGTERM, SIGHUP, SIGTSTP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
        let mut signals = Signals::new(wanted)?;
        let handle = signals.handle();
        let (over, watched) = bounded::<()>(0);
        let (state, stop) = (Arc::<State>::default(), Arc::<AtomicBool>::default());
        let (seen, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("wpool-signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if signal == SIGTSTP {
                    suspend::suspend();
                    stand_still();
                    suspend::resume();
                    continue;
                }
                let before = seen.count.fetch_add(1, Ordering::SeqCst);
                if before == 0 {
                    seen.first.store(signal, Ordering::SeqCst);
                }
                stopped.store(true, Ordering::SeqCst);
                let patience = match before {
                    // Nothing runs that could be finished: we wait for a file
                    // that does not open or an input that does not come.
                    0 if !seen.working.load(Ordering::SeqCst) => EARLY,
                    0 => grace.saturating_add(PATIENCE),
                    _ => PATIENCE,
                };
                watch(watched.clone(), patience, 128 + seen.first.load(Ordering::SeqCst));
            }
        })?;
        Ok(Self { state, stop, handle, thread: Some(thread), over: Some(over) })
    }

    /// From here on tasks may be running.
    pub fn work(&self) {
        self.state.working.store(true, Ordering::SeqCst);
    }

    /// How urgently the run is to end.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        match self.state.count.load(Ordering::SeqCst) {
            0 => Urgency::None,
            1 => Urgency::Drain,
            _ => Urgency::Kill,
        }
    }

    /// Set by the first signal.
    #[must_use]
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// The exit code of a run that a signal ended: 129, 130 or 143.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self.state.first.load(Ordering::SeqCst) {
            0 => None,
            signal => u8::try_from(128 + signal).ok(),
        }
    }
}

/// Has writes beyond a limit on the size of files (`ulimit -f`) fail with an
/// error that can be told, where the signal would end the process without a
/// word. Workers do not inherit it.
pub fn survive_file_size_limit() {
    // Where it fails, all is as it was.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        self.over = None;
        if let Some(thread) = self.thread.take() {
            // Its panic would have been reported already.
            let _ = thread.join();
        }
    }
}

/// Ends the process if the run is not over in time: its main thread may be
/// stuck writing to a reader that does not read.
#[expect(clippy::disallowed_methods, reason = "the last resort: main hangs, so it cannot return an exit code")]
fn watch(over: Receiver<()>, patience: Duration, code: i32) {
    let until = suspend::now().saturating_add(patience);
    let watchdog = move || {
        while over.recv_timeout(until.saturating_sub(suspend::now())) == Err(RecvTimeoutError::Timeout) {
            if suspend::now() >= until {
                std::process::exit(code);
            }
        }
    };
    // Without a watchdog the run still ends by itself, or by SIGKILL.
    let _ = std::thread::Builder::new().name("wpool-watchdog".to_owned()).spawn(watchdog);
}

/// Stops the process as an unhandled Ctrl-Z does: our parent sees why, and
/// where nobody could have it go on, the kernel does not stop it. Returns when
/// it goes on.
fn stand_still() {
    // SAFETY: `sigaction` is plain integers and a handler, for which zero is
    // the default action with an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    let mut ours = default;
    // SAFETY: both pointers are to live locals of the right type; our handler
    // is put back as it was. rustix and signal-hook do not offer it.
    unsafe {
        if libc::sigaction(SIGTSTP, &raw const default, &raw mut ours) == 0 {
            libc::raise(SIGTSTP);
            libc::sigaction(SIGTSTP, &raw const ours, std::ptr::null_mut());
        }
    }
}

/// The signals that this process ignores, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_kills() {
        // HUP, so that a Ctrl-C for the whole test run still works.
        let listener = Listener::start(Duration::from_secs(60)).unwrap();
        listener.work();
        assert_eq!((listener.urgency(), listener.exit_code()), (Urgency::None, None));
        let wait = |urgency| {
            let began = std::time::Instant::now();
            while listener.urgency() != urgency && began.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            assert_eq!(listener.urgency(), urgency);
        };
        signal_hook::low_level::raise(SIGHUP).unwrap();
        wait(Urgency::Drain);
        assert!(listener.stop().load(Ordering::SeqCst));
        signal_hook::low_level::raise(SIGHUP).unwrap();
        wait(Urgency::Kill);
        assert_eq!(listener.exit_code(), Some(129));
    }
}
