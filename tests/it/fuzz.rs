//! The fuzz targets without a fuzzer: seeds, and mutations of them that are
//! the same in every run. `WPOOL_FUZZ_RUNS` makes more of them.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Mutations of each target's seeds.
const RUNS: u64 = 4_000;

/// Where the mutations start. A failure names its run, which begins anew from
/// here.
const SEED: u64 = 0x5eed_0fa1_1f02;

/// No mutation gets longer, in bytes.
const LONGEST: usize = 4096;

/// Numbers that are the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() >> 11) as usize % most.max(1)
    }
}

/// The seeds of a target: one a line, with `\n`, `\\` and `\xNN`.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/fuzz/seeds/{target}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().filter(|line| !line.starts_with('#')).map(unescaped).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), line.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let (byte, used) = match (first, after) {
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                let number = std::str::from_utf8(&digits).ok().and_then(|text| u8::from_str_radix(text, 16).ok());
                (number.unwrap_or_else(|| panic!("no byte: {line}")), 4)
            }
            _ => (*first, 1),
        };
        out.push(byte);
        rest = &rest[used..];
    }
    out
}

/// Changes bytes in one of the ways that find something.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], noise: &mut Noise) {
    const EDGES: [u32; 10] = [0, 1, 31, 32, 255, 1024, 65_535, 65_536, 0x7fff_ffff, u32::MAX];
    const MARKS: &[u8] = b"\"\\{}[],:-.0eE\n\r\t \0\x1b\x7f\xc2\xe2\xff'/;";
    let at = noise.below(bytes.len() + 1);
    match noise.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << noise.below(8),
        1 if at < bytes.len() => bytes[at] = noise.next() as u8,
        2 => bytes.insert(at, MARKS[noise.below(MARKS.len())]),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        4 => bytes.truncate(at),
        5 => {
            let edge = EDGES[noise.below(EDGES.len())].to_le_bytes();
            for (old, new) in bytes[at..].iter_mut().zip(edge) {
                *old = new;
            }
        }
        6 => {
            let end = at + noise.below((bytes.len() - at).min(64) + 1);
            let part = bytes[at..end].to_vec();
            let times = 1 + noise.below(8);
            (0..times).for_each(|_| drop(bytes.splice(at..at, part.iter().copied())));
        }
        7 => {
            let other = &others[noise.below(others.len())];
            let from = noise.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            let swapped = noise.below(bytes.len() + 1).max(at).min(bytes.len());
            bytes[at..swapped].reverse();
        }
    }
    bytes.truncate(LONGEST);
}

/// Runs a target on its seeds, and on what becomes of them.
fn fuzz(name: &str) {
    let (_, target) = targets::TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds(name);
    assert!(seeds.len() >= 5, "{name} has too few seeds");
    let runs = std::env::var("WPOOL_FUZZ_RUNS").map_or(RUNS, |text| text.parse().expect("a number of runs"));
    let mut noise = Noise(SEED);
    let mutations = (0..runs).map(|_| {
        let mut bytes = seeds[noise.below(seeds.len())].clone();
        for _ in 0..=noise.below(6) {
            mutate(&mut bytes, &seeds, &mut noise);
        }
        bytes
    });
    for (run, bytes) in seeds.iter().cloned().chain(mutations).enumerate() {
        let held = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(held.is_ok(), "{name}, run {run} from seed {SEED:#x}: \"{}\"", bytes.escape_ascii());
    }
}

#[test]
fn every_target_has_a_test_and_both_doors() {
    let code = include_str!("fuzz.rs");
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for (name, _) in targets::TARGETS {
        assert!(code.contains(&format!("    fuzz(\"{name}\");")), "{name} is not tested");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no door for cargo fuzz");
        let door = format!("{}/fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let door = std::fs::read_to_string(&door).unwrap_or_else(|error| panic!("{door}: {error}"));
        assert!(door.contains(&format!("wpool_fuzz::{name}(data)")), "{name}'s door leads elsewhere");
    }
}

#[test]
fn bytes_of_a_worker_are_frames_or_refused() {
    fuzz("from_worker");
}

#[test]
fn bytes_of_the_host_are_frames_or_refused() {
    fuzz("from_host");
}

#[test]
fn any_input_is_items_or_refused() {
    fuzz("slicer");
}

#[test]
fn any_json_is_a_value_or_refused() {
    fuzz("values");
}

#[test]
fn any_limit_is_one_or_refused() {
    fuzz("limits");
}

#[test]
fn any_cache_entry_is_ours_or_a_miss() {
    fuzz("cache");
}

#[test]
fn any_description_of_a_module_is_taken_or_refused() {
    fuzz("description");
}

#[test]
fn any_text_is_made_harmless() {
    fuzz("texts");
}
