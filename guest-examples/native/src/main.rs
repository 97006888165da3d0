//! The work of the examples without WebAssembly: the same source, compiled for
//! this machine. `benches/ends.py` measures wpool against it.
//!
//!     native textstats|thumbnail|primes TIMES INPUT...
//!
//! prints the seconds that so many rounds over the inputs took.

#[path = "../../primes/src/count.rs"]
mod count;
#[path = "../../textstats/src/measure.rs"]
mod measure;
#[path = "../../thumbnail/src/picture.rs"]
mod picture;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

/// The types that wit-bindgen makes for textstats.
pub struct Stats {
    pub words: u32,
    pub sentences: u32,
    pub characters: u64,
    pub unique_words: u32,
    pub top: Vec<WordCount>,
    pub readability: Option<f64>,
    pub level: Option<ReadingLevel>,
    pub reading_minutes: f64,
}

pub struct WordCount {
    pub word: String,
    pub count: u32,
}

pub enum ReadingLevel {
    Easy,
    Plain,
    Hard,
}

/// One item: read anew each time, as a pool reads it.
fn task(name: &str, input: &str) -> Result<(), String> {
    let read = || std::fs::read(input).map_err(|error| format!("{input}: {error}"));
    match name {
        "textstats" => {
            let text = String::from_utf8(read()?).map_err(|error| format!("{input}: {error}"))?;
            let stats = black_box(measure::stats(&text, 3));
            black_box((stats.words, stats.sentences, stats.characters, stats.unique_words, stats.reading_minutes));
            black_box((stats.readability, stats.level, stats.top.iter().map(|top| (&top.word, top.count)).count()));
        }
        "thumbnail" => _ = black_box(picture::thumbnail(&read()?, 128, 128)?),
        "primes" => {
            let n = input.parse().map_err(|error| format!("{input}: {error}"))?;
            black_box(count::primes(black_box(n)));
        }
        _ => return Err(format!("no task {name:?}")),
    }
    Ok(())
}

fn run(words: &[String]) -> Result<f64, String> {
    let [name, times, inputs @ ..] = words else { return Err("usage: native TASK TIMES INPUT...".to_owned()) };
    let times: u32 = times.parse().map_err(|error| format!("{times:?}: {error}"))?;
    let started = Instant::now();
    for _ in 0..times {
        inputs.iter().try_for_each(|input| task(name, input))?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(seconds) => println!("{seconds}"),
        Err(message) => {
            eprintln!("native: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
