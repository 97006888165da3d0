//! A component with the functions that tutorials of `multiprocessing` call:
//! they square, add, sleep, download and never end. `examples/gallery.rs` has
//! the programs.

use std::thread;
use std::time::Duration;

wit_bindgen::generate!({ world: "gallery", path: "../../wit/examples" });

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

    fn greet(name: String) -> String {
        format!("hello {name}")
    }

    fn half(n: u32) -> Result<u32, String> {
        if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }
    }

    fn spin() -> u64 {
        loop {
            std::hint::spin_loop();
        }
    }
}

export!(Gallery);
