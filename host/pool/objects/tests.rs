//! Objects under their own requests: order, bounds, and who ends in the middle.

use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::event::EventfdFlags;

use super::*;
use crate::capabilities::SharedKind;
use crate::wire::objects::{Level, MAX_LINES, Note};

fn object(text: &str) -> Arc<Object> {
    Arc::new(Object::new(text.parse().unwrap()))
}

/// Sessions of workers that share one object, at place 0.
fn sessions<const COUNT: usize>(text: &str) -> (Arc<Object>, [Session; COUNT]) {
    let object = object(text);
    let objects = Arc::new(vec![Arc::clone(&object)]);
    let session = |_| {
        let waker = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Session::new(Arc::clone(&objects), Arc::new(waker))
    };
    (object, std::array::from_fn(session))
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn who_waits_for_a_lock_gets_it_in_the_order_of_asking() {
    let (lock, [mut first, mut second, mut third]) = sessions("lock:l");
    assert_eq!(first.ask(0, Request::Acquire(Wait::Ever), 0), Ok(Some(Answer::Yes)));
    assert_eq!(second.ask(0, Request::Acquire(Wait::Ever), 0), Ok(None));
    assert_eq!(third.ask(0, Request::Acquire(Wait::For(50)), 0), Ok(None));
    assert_eq!((second.answer(10), third.answer(10)), (None, None));
    assert_eq!(first.ask(0, Request::Release, 0), Ok(Some(Answer::Yes)));
    assert_eq!((third.answer(20), second.answer(20)), (None, Some(Answer::Yes)));
    assert_eq!(third.answer(50), Some(Answer::No), "its own time is over");
    assert_eq!(lock.waiters(), 0);
    second.end();
    assert_eq!(third.ask(0, Request::Acquire(Wait::For(0)), 60), Ok(Some(Answer::Yes)));
}

#[test]
fn an_end_releases_what_was_held_and_leaves_the_line() {
    let (lock, [mut first, mut second, mut third]) = sessions("semaphore:s:1");
    for session in [&mut first, &mut second, &mut third] {
        session.ask(0, Request::Acquire(Wait::Ever), 0).unwrap();
    }
    // The second is killed while it waits, then the first while it holds.
    second.end();
    assert_eq!(lock.waiters(), 1);
    first.end();
    assert_eq!(third.answer(0), Some(Answer::Yes));
    // And one that was given the permit but never heard of it.
    second.ask(0, Request::Acquire(Wait::Ever), 0).unwrap();
    third.end();
    drop(second);
    assert_eq!(first.ask(0, Request::Acquire(Wait::For(0)), 0), Ok(Some(Answer::Yes)));
}

#[test]
fn a_value_given_to_the_dead_is_the_first_again() {
    let (queue, [mut dead, mut alive]) = sessions("queue:q:2");
    assert_eq!(dead.ask(0, Request::Take(Wait::Ever), 0), Ok(None));
    for text in ["one", "two"] {
        assert_eq!(alive.ask(0, Request::Put(value(text), Wait::Ever), 0), Ok(Some(Answer::Yes)));
    }
    dead.end();
    assert_eq!(alive.ask(0, Request::Size, 0), Ok(Some(Answer::Number(2))));
    assert_eq!(alive.ask(0, Request::Take(Wait::Ever), 0), Ok(Some(Answer::Value(value("one")))));
    assert_eq!(queue.waiters(), 0);
}

#[test]
fn nobody_overtakes_in_a_full_queue() {
    let (_queue, [mut first, mut second, mut reader]) = sessions("queue:q:1");
    assert_eq!(reader.ask(0, Request::Put(value("0"), Wait::Ever), 0), Ok(Some(Answer::Yes)));
    assert_eq!(first.ask(0, Request::Put(value("1"), Wait::Ever), 0), Ok(None));
    assert_eq!(second.ask(0, Request::Put(value("2"), Wait::Ever), 0), Ok(None));
    for text in ["0", "1", "2"] {
        assert_eq!(reader.ask(0, Request::Take(Wait::Ever), 0), Ok(Some(Answer::Value(value(text)))));
    }
    assert_eq!((first.answer(0), second.answer(0)), (Some(Answer::Yes), Some(Answer::Yes)));
    // One who waits in vain keeps nobody from what is there.
    assert_eq!(first.ask(0, Request::Join(Wait::Ever), 0), Ok(None));
    assert_eq!(second.ask(0, Request::Take(Wait::Ever), 0), Ok(None));
    assert_eq!(reader.ask(0, Request::Put(value("3"), Wait::Ever), 0), Ok(Some(Answer::Yes)));
    assert_eq!(second.answer(0), Some(Answer::Value(value("3"))));
    for _ in 0..4 {
        assert_eq!(first.answer(0), None);
        assert_eq!(reader.ask(0, Request::TaskDone, 0), Ok(Some(Answer::Yes)));
    }
    assert_eq!(first.answer(0), Some(Answer::Yes));
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let (_queue, [mut writer, mut reader]) = sessions("queue:q:1000000");
    let large = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..MAX_BYTES >> 20 {
        assert_eq!(writer.ask(0, Request::Put(large.clone(), Wait::For(0)), 0), Ok(Some(Answer::Yes)));
    }
    assert_eq!(writer.ask(0, Request::Put(value("x"), Wait::For(0)), 0), Ok(Some(Answer::No)));
    assert_eq!(writer.ask(0, Request::Put(value("x"), Wait::Ever), 0), Ok(None));
    assert!(matches!(reader.ask(0, Request::Take(Wait::For(0)), 0), Ok(Some(Answer::Value(_)))));
    assert_eq!(writer.answer(0), Some(Answer::Yes));
}

#[test]
fn what_would_wait_for_itself_is_refused() {
    let (_lock, [mut task]) = sessions("semaphore:s:2");
    for _ in 0..2 {
        assert_eq!(task.ask(0, Request::Acquire(Wait::Ever), 0), Ok(Some(Answer::Yes)));
    }
    assert!(matches!(task.ask(0, Request::Acquire(Wait::Ever), 0), Ok(Some(Answer::Refused(_)))));
    assert_eq!(task.ask(0, Request::Acquire(Wait::For(0)), 0), Ok(Some(Answer::No)));
    for _ in 0..2 {
        assert_eq!(task.ask(0, Request::Release, 0), Ok(Some(Answer::Yes)));
    }
    assert!(matches!(task.ask(0, Request::Release, 0), Ok(Some(Answer::Refused(_)))));
}

#[test]
fn what_no_guest_can_ask_for_is_a_lie() {
    for kind in SharedKind::ALL {
        let bound = if kind.is_bounded() { ":1" } else { "" };
        let (_object, [mut session]) = sessions(&format!("{kind}:x{bound}"));
        assert_eq!(session.ask(1, Request::Size, 0), Err(()), "no such object");
        let requests = [Request::Size, Request::Release, Request::Count, Request::IsRaised, Request::Keys(0)];
        let taken = requests.into_iter().filter(|request| session.ask(0, request.clone(), 0).is_ok()).count();
        assert_eq!(taken, 1, "{kind}");
    }
}

#[test]
fn a_store_is_bounded_and_tells_its_keys_in_parts() {
    let (_store, [mut task]) = sessions("kv:s");
    let mut set = |key: String, value: Bytes| task.ask(0, Request::Set(key, value), 0).unwrap().unwrap();
    for nth in 0..300 {
        assert_eq!(set(format!("{nth:03}{}", "x".repeat(900)), value("v")), Answer::Yes);
    }
    let large = Bytes::from(vec![0; 1 << 20]);
    let full =
        (0..).map(|nth| set(format!("{nth}"), large.clone())).take_while(|answer| *answer == Answer::Yes).count();
    assert!((62..64).contains(&full), "{full} MiB");
    assert_eq!(set("0".to_owned(), value("small")), Answer::Yes, "instead of the old one");
    let (mut from, mut keys) = (Some(0), Vec::new());
    while let Some(position) = from {
        match task.ask(0, Request::Keys(position), 0) {
            Ok(Some(Answer::Keys(part, next))) => {
                assert!(!part.is_empty() && part.len() < 100);
                keys.extend(part);
                from = next;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(keys.len(), 300 + full);
    assert!(keys.is_sorted());
}

#[test]
fn the_number_of_keys_is_bounded() {
    let (_store, [mut task]) = sessions("kv:s");
    for nth in 0..MAX_STORED {
        assert_eq!(task.ask(0, Request::Set(nth.to_string(), Bytes::new()), 0), Ok(Some(Answer::Yes)));
    }
    assert!(matches!(task.ask(0, Request::Set("more".to_owned(), Bytes::new()), 0), Ok(Some(Answer::Refused(_)))));
    assert!(matches!(task.ask(0, Request::Increment("more".to_owned(), 1), 0), Ok(Some(Answer::Refused(_)))));
    assert_eq!(task.ask(0, Request::Delete("7".to_owned()), 0), Ok(Some(Answer::Yes)));
    assert_eq!(task.ask(0, Request::Increment("more".to_owned(), 3), 0), Ok(Some(Answer::Number(3))));
    assert!(matches!(task.ask(0, Request::Increment("8".to_owned(), 1), 0), Ok(Some(Answer::Refused(_)))), "no number");
}

#[test]
fn notes_are_passed_on_up_to_a_bound_for_each_task() {
    let (_object, [mut session]) = sessions("event:e");
    let line = || Note::Line(Level::Info, "x".to_owned());
    let heard = (0..MAX_LINES * 2).filter_map(|_| session.hear(line(), 0)).collect::<Vec<_>>();
    assert_eq!(heard.len(), MAX_LINES as usize + 1);
    assert!(matches!(heard.last(), Some(Note::Line(Level::Warn, text)) if text.contains("left out")));
    assert!((0..1000).filter_map(|_| session.hear(Note::Progress(1, 1), 5)).count() == 1);
    session.end();
    assert_eq!(session.hear(line(), 0), Some(line()));
}

#[test]
fn an_answer_wakes_the_slot() {
    let event = object("event:e");
    let waker = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let mut session = Session::new(Arc::new(vec![Arc::clone(&event)]), Arc::new(waker.try_clone().unwrap()));
    assert_eq!(session.ask(0, Request::Await(Wait::Ever), 0), Ok(None));
    assert!(rustix::io::read(waker.as_fd(), &mut [0; 8]).is_err());
    assert!(matches!(event.ask(Owner::new(), Request::Raise, None), Asked::Now(Answer::Yes)));
    assert!(rustix::io::read(waker.as_fd(), &mut [0; 8]).is_ok());
    assert_eq!(session.answer(0), Some(Answer::Yes));
}
