//! The running task's calls of shared objects, and its notes.

use std::time::Duration;

use bytes::Bytes;

use crate::pool::slot::Slot;
use crate::pool::slot::death::limit_of;
use crate::pool::slot::seat::Seat;
use crate::pool::slot::watch::now_ns;
use crate::wire::frame::{FrameKind, Head};
use crate::wire::objects::{Answer, Call, Note};

impl Slot {
    /// Answers a call, now or when it can be; false where no honest worker
    /// calls so.
    pub(super) fn call(&mut self, head: &Head, payload: &Bytes) -> bool {
        let Some(seat) = self.seat.as_mut() else { return false };
        if seat.flight.first().is_none_or(|(ticket, _)| ticket != head.ticket) || seat.session.is_waiting() {
            return false;
        }
        // One that heard its last answer has taken all that came before it.
        if std::mem::take(&mut seat.answered) && seat.link.has_output() {
            return false;
        }
        let now = now_ns();
        let answer = match Call::read(payload) {
            None => return false,
            Some(Call::Object(object, request)) => match seat.session.ask(object, request, now) {
                Ok(answer) => answer,
                Err(()) => return false,
            },
            Some(Call::Remaining) => {
                seat.watch.look(&seat.page, seat.flight.last(), now);
                let limit = limit_of(seat, &self.shared);
                // It is a clock, too.
                let stands = self.shared.spec.capabilities.deterministic.is_some();
                let passed = if stands { 0 } else { seat.watch.running_ns(now) };
                let left = limit.map(|limit| limit.saturating_sub(Duration::from_nanos(passed)));
                Some(left.map_or(Answer::No, |left| Answer::Number(i64::try_from(left.as_nanos()).unwrap_or(i64::MAX))))
            }
        };
        if let Some(answer) = answer {
            reply(seat, &answer);
        }
        true
    }

    /// Passes on what the worker's task has waited for.
    pub(super) fn answer(&mut self) {
        if let Some(seat) = self.seat.as_mut()
            && let Some(answer) = seat.session.answer(now_ns())
        {
            reply(seat, &answer);
        }
    }

    /// Passes a note on; false where it is none of the running task.
    pub(super) fn note(&mut self, head: &Head, payload: &Bytes) -> bool {
        let Some(seat) = self.seat.as_mut() else { return false };
        let Some((ticket, index)) = seat.flight.first() else { return false };
        if ticket != head.ticket {
            return false;
        }
        let Some(note) = Note::read(payload) else { return false };
        if let Some(note) = seat.session.hear(note, now_ns())
            && let Some(listener) = &self.shared.options.listener
        {
            let before = now_ns();
            listener.tell(index, note);
            // Whoever listens may be slow: that is not the task's time.
            seat.watch.spare(before, now_ns());
        }
        true
    }
}

fn reply(seat: &mut Seat, answer: &Answer) {
    let bytes = answer.to_bytes();
    let Some((ticket, _)) = seat.flight.first() else { return };
    let head = Head { ticket, ..Head::control(FrameKind::Answer, bytes.len() as u32) };
    seat.answered = true;
    head.put(seat.link.gather());
    seat.link.gather().extend_from_slice(&bytes);
}
