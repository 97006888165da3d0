//! A component whose tasks share objects with each other: a queue, a lock, a
//! counter, a key-value store. All of them live in the host and are opened by
//! name, where `--shared` granted them.

wit_bindgen::generate!({
    world: "wpool:shared-example/shared",
    path: ["../../wit/pool", "../../wit/keyvalue", "wit"],
    generate_all,
});

use wasi::keyvalue::{atomics, store};
use wpool::pool::context;
use wpool::pool::counter::Counter;
use wpool::pool::lock::Lock;
use wpool::pool::log::{self, Level};
use wpool::pool::queue::Queue;

struct Shared;

impl Guest for Shared {
    fn run(order: Order) -> Result<Vec<String>, String> {
        match order {
            Order::Write(words) => write(&words),
            Order::Read(count) => read("words", count),
            Order::Count(times) => count(times),
            Order::Counted(tasks) => counted(tasks),
            Order::Square(number) => square(number),
            Order::Squares(count) => squares(count),
            Order::See(words) => see(&words),
        }
    }
}

/// `q.put(word)`, for each.
fn write(words: &[String]) -> Result<Vec<String>, String> {
    let queue = Queue::new("words");
    for word in words {
        queue.put(word.as_bytes(), None);
    }
    log::write(Level::Info, &format!("put {} words", words.len()));
    Ok(Vec::new())
}

/// `[q.get() for _ in range(count)]`
fn read(queue: &str, count: u32) -> Result<Vec<String>, String> {
    let queue = Queue::new(queue);
    let mut words = Vec::new();
    for _ in 0..count {
        let word = queue.get(None).ok_or("nothing came")?;
        words.push(String::from_utf8(word).map_err(|error| error.to_string())?);
    }
    Ok(words)
}

/// `with lock: value.value += 1`
fn count(times: u32) -> Result<Vec<String>, String> {
    let (lock, hits) = (Lock::new("l"), Counter::new("hits"));
    for _ in 0..times {
        lock.acquire(None);
        hits.set(hits.get() + 1);
        lock.release();
    }
    Queue::new("done").put(b"done", None);
    Ok(Vec::new())
}

fn counted(tasks: u32) -> Result<Vec<String>, String> {
    read("done", tasks)?;
    Ok(vec![Counter::new("hits").get().to_string()])
}

fn square(number: u32) -> Result<Vec<String>, String> {
    let square = u64::from(number).pow(2);
    Queue::new("squares").put(format!("{} {square}", context::index()).as_bytes(), None);
    Ok(Vec::new())
}

/// Results come as they are ready; their indices make them ordered.
fn squares(count: u32) -> Result<Vec<String>, String> {
    let mut squares: Vec<(u64, String)> = Vec::new();
    for word in read("squares", count)? {
        let (index, square) = word.split_once(' ').ok_or("no index")?;
        squares.push((index.parse().map_err(|_| "a bad index")?, square.to_owned()));
    }
    squares.sort();
    Ok(squares.into_iter().map(|(_, square)| square).collect())
}

fn see(words: &[String]) -> Result<Vec<String>, String> {
    let seen = store::open("seen").map_err(words_of)?;
    for word in words {
        atomics::increment(&seen, word, 1).map_err(words_of)?;
    }
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    let count = seen.get(first).map_err(words_of)?.unwrap_or_default();
    Ok(vec![String::from_utf8_lossy(&count).into_owned()])
}

fn words_of(error: store::Error) -> String {
    match error {
        store::Error::NoSuchStore => "no such store".to_owned(),
        store::Error::AccessDenied => "access denied".to_owned(),
        store::Error::Other(words) => words,
    }
}

export!(Shared);
