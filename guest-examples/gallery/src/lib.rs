//! A component with the functions that tutorials of `multiprocessing` call:
//! they square, add, sleep, download and never end, count under a lock, and
//! pass words through a queue. `examples/gallery` has the programs.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

wit_bindgen::generate!({
    world: "wpool:gallery/gallery",
    path: ["../../wit/pool", "wit"],
    generate_all,
});

use wpool::pool::counter::Counter;
use wpool::pool::lock::Lock;
use wpool::pool::queue::Queue;

/// What initializers leave to tasks: Python's globals.
struct Globals {
    greeting: String,
    mark: String,
    lock: String,
    counter: String,
}

static GLOBALS: Mutex<Globals> =
    Mutex::new(Globals { greeting: String::new(), mark: String::new(), lock: String::new(), counter: String::new() });

/// Reads or changes the globals, which nothing can have left poisoned.
fn globals<T>(with: impl FnOnce(&mut Globals) -> T) -> T {
    with(&mut GLOBALS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

struct Gallery;

impl Guest for Gallery {
    fn square(n: i64) -> i64 {
        n.wrapping_mul(n)
    }

    fn add(a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    fn power(base: i64, exponent: u32) -> i64 {
        base.wrapping_pow(exponent)
    }

    fn sleep(ms: u64) -> u64 {
        thread::sleep(Duration::from_millis(ms));
        ms
    }

    fn download(page: u32) -> String {
        thread::sleep(Duration::from_millis(5));
        format!("page {page}")
    }

    fn greet_with(greeting: String, mark: String) {
        globals(|globals| (globals.greeting, globals.mark) = (greeting, mark));
    }

    fn greet(name: String) -> String {
        globals(|Globals { greeting, mark, .. }| {
            let greeting = if greeting.is_empty() { "hello" } else { greeting };
            format!("{greeting} {name}{mark}")
        })
    }

    fn half(n: u32) -> Result<u32, String> {
        if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }
    }

    fn spin() -> u64 {
        loop {
            std::hint::spin_loop();
        }
    }

    fn use_lock(lock: String, counter: String) {
        globals(|globals| (globals.lock, globals.counter) = (lock, counter));
    }

    fn count(times: u32) {
        let (lock, hits) = globals(|globals| (Lock::new(&globals.lock), Counter::new(&globals.counter)));
        for _ in 0..times {
            lock.acquire(None);
            hits.set(hits.get() + 1);
            lock.release();
        }
    }

    fn hold() {
        let lock = globals(|globals| Lock::new(&globals.lock));
        lock.acquire(None);
        Self::spin();
    }

    fn write(queue: String, words: Vec<String>) {
        let queue = Queue::new(&queue);
        for word in words {
            queue.put(word.as_bytes(), None);
        }
    }

    fn read(queue: String) -> Vec<String> {
        let queue = Queue::new(&queue);
        (0..queue.size())
            .filter_map(|_| queue.get(None))
            .map(|word| String::from_utf8_lossy(&word).into_owned())
            .collect()
    }

    fn sleep_into(queue: String, index: u32, ms: u64) {
        Self::sleep(ms);
        Queue::new(&queue).put(format!("[{index},{ms}]").as_bytes(), None);
    }
}

export!(Gallery);
