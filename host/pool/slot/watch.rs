//! The clock of the running item, kept by the host. The worker's own stamp
//! may only make it shorter.

pub(super) use crate::pool::suspend::now_ns;

use crate::pool::suspend::of_worker;
use crate::wire::page::Page;

/// What the host has seen of a worker's progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    ticket: u64,
    /// The last ticket that was seen to run.
    highest: u64,
    since: u64,
    looked: u64,
    changed: u64,
    /// When the worker was given its first item, or answered one.
    answered: u64,
}

impl Watch {
    pub(super) fn new(now: u64) -> Self {
        Self { ticket: 0, highest: 0, since: now, looked: now, changed: now, answered: now }
    }

    /// Looks at the page of a worker that was given tickets up to `last`.
    pub(super) fn look(&mut self, page: &Page, last: u64, now: u64) {
        let (ticket, stamp) = page.running();
        let stamp = of_worker(stamp);
        // Tickets start once each, in order: anything else is a lie that would
        // set the clock back.
        let starts = ticket > self.highest && ticket <= last;
        if starts || ticket == 0 && self.ticket != 0 {
            self.highest = self.highest.max(ticket);
            // A stamp from before the last look, or from the future, is a lie
            // or a torn read.
            self.since = if stamp <= now { stamp.max(self.looked) } else { now };
            self.ticket = ticket;
            self.changed = now;
        }
        self.looked = now;
    }

    /// The host has sent or received something: silence counts from now.
    pub(super) fn touch(&mut self, now: u64) {
        self.changed = now;
        self.answered = now;
    }

    /// The host does not read now, which may keep the worker from going on:
    /// this time is not the item's.
    pub(super) fn hold(&mut self, now: u64) {
        self.since = self.since.saturating_add(now.saturating_sub(self.looked)).min(now);
        self.looked = now;
        self.touch(now);
    }

    /// The host itself was busy between these times: they are nobody's.
    pub(super) fn spare(&mut self, from: u64, now: u64) {
        for time in [&mut self.since, &mut self.changed, &mut self.answered] {
            *time = time.saturating_add(now.saturating_sub(from)).min(now);
        }
    }

    /// The running ticket, 0 for none.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Nanoseconds since the running item started.
    pub(super) fn running_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }

    /// Nanoseconds since anything changed.
    pub(super) fn silent_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.changed)
    }

    /// Nanoseconds since the worker answered, whatever its page says.
    pub(super) fn unanswered_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_while_the_host_does_not_read_is_not_the_items() {
        let (page, _file) = Page::create(0).expect("a memory file");
        let mut watch = Watch::new(1_000);
        assert!(page.start(1, 1_500));
        watch.look(&page, 9, 2_000);
        watch.hold(9_000);
        assert_eq!((watch.running_ns(9_000), watch.silent_ns(9_000)), (500, 0));
    }

    #[test]
    fn a_stamp_in_the_past_cannot_lengthen_or_forge_the_clock() {
        let (page, _file) = Page::create(0).expect("a memory file");
        let mut watch = Watch::new(1_000);
        assert!(page.start(1, 1));
        watch.look(&page, 9, 2_000);
        assert_eq!(watch.running_ns(2_000), 1_000, "counted from the last look at the earliest");
        assert!(page.start(2, 9_000_000));
        watch.look(&page, 9, 3_000);
        assert_eq!(watch.running_ns(3_000), 0, "a stamp from the future counts from now");
    }

    #[test]
    fn a_ticket_starts_once_and_only_if_it_was_given() {
        let (page, _file) = Page::create(0).expect("a memory file");
        let mut watch = Watch::new(0);
        for (ticket, now, running, seen) in [
            (5, 1_000, 0, 5),
            // Not given.
            (10, 2_000, 1_000, 5),
            // Back, and again.
            (4, 3_000, 2_000, 5),
            (5, 4_000, 3_000, 5),
            (0, 5_000, 0, 0),
            (5, 6_000, 1_000, 0),
            (0, 7_000, 2_000, 0),
            (6, 8_000, 0, 6),
        ] {
            let _taken = page.start(ticket, now);
            watch.look(&page, 9, now);
            assert_eq!((watch.running_ns(now), watch.ticket()), (running, seen), "{ticket} at {now}");
        }
        assert_eq!(watch.unanswered_ns(8_000), 8_000);
    }
}
