//! What one worker's running task has to do with the shared objects: what it
//! waits for and what it may hold; all of it ends with the task.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::pool::objects::{Asked, Object, Owner, Waiting};
use crate::wire::objects::{Answer, Level, MAX_LINES, Note, Request, Wait};

/// Time between two reports of progress that are passed on, in nanoseconds.
const PROGRESS_NS: u64 = 20_000_000;

/// What the host says of a log that went on beyond its bound.
const CUT: &str = "(more lines of this task are left out)";

/// The running task of one worker.
#[derive(Debug)]
pub(crate) struct Session {
    owner: Owner,
    objects: Arc<Vec<Arc<Object>>>,
    pending: Option<Pending>,
    /// It may hold something.
    holds: bool,
    /// Lines of its log so far.
    lines: u32,
    /// When its progress was last passed on.
    progress_ns: Option<u64>,
    waker: Arc<OwnedFd>,
}

/// What it waits for.
#[derive(Debug)]
struct Pending {
    object: Arc<Object>,
    waiting: Arc<Waiting>,
    /// On the pool's clock.
    until_ns: Option<u64>,
}

impl Session {
    /// A worker's, whose slot is woken by `waker`.
    pub(crate) fn new(objects: Arc<Vec<Arc<Object>>>, waker: Arc<OwnedFd>) -> Self {
        Self { owner: Owner::new(), objects, pending: None, holds: false, lines: 0, progress_ns: None, waker }
    }

    /// Whether the task waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Asks for something at `now_ns`. `Ok(None)` is to wait for
    /// [`Session::answer`].
    ///
    /// # Errors
    /// What no honest worker asks for.
    pub(crate) fn ask(&mut self, object: u16, request: Request, now_ns: u64) -> Result<Option<Answer>, ()> {
        let object = self.objects.get(usize::from(object)).filter(|object| object.takes(&request)).ok_or(())?;
        let until_ns = match super::content::wait(&request) {
            Some(Wait::For(ns)) => Some(now_ns.saturating_add(ns)),
            Some(Wait::Ever) | None => None,
        };
        self.holds |= matches!(request, Request::Acquire(_));
        match object.ask(self.owner, request, Some(&self.waker)) {
            Asked::Now(answer) => Ok(Some(answer)),
            Asked::Later(waiting) => {
                self.pending = Some(Pending { object: Arc::clone(object), waiting, until_ns });
                Ok(None)
            }
        }
    }

    /// The answer to what the task waits for, if it is there, or its time is
    /// over.
    pub(crate) fn answer(&mut self, now_ns: u64) -> Option<Answer> {
        let pending = self.pending.as_ref()?;
        let over = pending.until_ns.is_some_and(|until| until <= now_ns);
        let answer = match pending.waiting.take() {
            None if over => pending.object.withdraw(&pending.waiting).unwrap_or(Answer::No),
            answer => answer?,
        };
        self.pending = None;
        Some(answer)
    }

    /// How long the slot may sleep for all that the task waits for.
    pub(crate) fn patience_ns(&self, now_ns: u64) -> Option<u64> {
        self.pending.as_ref()?.until_ns.map(|until| until.saturating_sub(now_ns))
    }

    /// Whether a note is passed on, and as what.
    pub(crate) fn hear(&mut self, note: Note, now_ns: u64) -> Option<Note> {
        match note {
            Note::Line(..) => {
                self.lines = self.lines.saturating_add(1);
                match self.lines.cmp(&(MAX_LINES + 1)) {
                    std::cmp::Ordering::Less => Some(note),
                    std::cmp::Ordering::Equal => Some(Note::Line(Level::Warn, CUT.to_owned())),
                    std::cmp::Ordering::Greater => None,
                }
            }
            Note::Progress(..) => {
                let due = self.progress_ns.is_none_or(|last| now_ns.saturating_sub(last) >= PROGRESS_NS);
                if due {
                    self.progress_ns = Some(now_ns);
                }
                due.then_some(note)
            }
        }
    }

    /// The task has ended: it waits for nothing more and holds nothing.
    pub(crate) fn end(&mut self) {
        if let Some(Pending { object, waiting, .. }) = self.pending.take()
            && let Some(unheard) = object.withdraw(&waiting)
        {
            object.undo(unheard);
        }
        if std::mem::take(&mut self.holds) {
            self.objects.iter().for_each(|object| object.release(self.owner));
            self.owner = Owner::new();
        }
        (self.lines, self.progress_ns) = (0, None);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}
