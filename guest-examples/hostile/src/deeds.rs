//! The misbehaviours. Most do not return; those that do return a result that
//! the pool has to refuse, or has to survive.

use std::arch::wasm32::memory_grow;
use std::hint::black_box;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::json;
use crate::order::Order;

/// What `flood` writes at a time, and `alloc` takes at a time.
const BLOCK: usize = 64 << 10;

/// Counts the calls that one instance has seen.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Does what the order says; none when the verb is not a deed.
pub fn perform(order: &Order<'_>) -> Option<i64> {
    Some(match order.verb {
        "ok" => json(order.rest),
        "fail" => bytes_abi::error(order.rest.as_bytes().to_vec()),
        "loop" => spin_for_ever(),
        "spin" => json(spin(order.amount(1 << 20))),
        "recurse" => json(recurse(0)),
        "grow" => grow_for_ever(),
        "alloc" => json(hold(order.amount(64 << 20))),
        "trap" => std::arch::wasm32::unreachable(),
        "oob" => json(read_out_of_bounds()),
        "div0" => json(divide_by_zero()),
        "panic" => panic!("{}", order.rest),
        "exit" => process::exit(order.amount(1) as i32),
        "abort" => process::abort(),
        "sleep" => json(sleep(order.amount(60_000))),
        "flood" => json(flood(&mut io::stdout(), order.amount(10 << 30))),
        "flood-stderr" => json(flood(&mut io::stderr(), order.amount(10 << 30))),
        "big" => big(order.amount(200 << 20)),
        "bad-pointer" => 0xffff_0000_0000_1000_u64 as i64,
        "bad-json" => bytes_abi::ok(b"{\"unfinished\":".to_vec()),
        "bad-utf8" => bytes_abi::ok(b"\"\xff\xfe\"".to_vec()),
        "count" => json(count()),
        _ => return None,
    })
}

/// Never returns, and never asks the host for anything.
#[expect(clippy::empty_loop, reason = "that is the misbehaviour")]
pub fn spin_for_ever() -> ! {
    loop {}
}

/// Turns `rounds` times and returns: a task of a length one can choose.
pub fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(1, |state, round| black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round)))
}

/// Uses up the stack; the answer depends on every call, so none is a loop.
#[expect(unconditional_recursion, reason = "that is the misbehaviour")]
pub fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)).wrapping_add(depth))
}

/// Takes memory until it is refused, then traps as allocators do.
pub fn grow_for_ever() -> ! {
    while memory_grow::<0>(16) != usize::MAX {}
    std::arch::wasm32::unreachable()
}

/// Takes and touches at least `bytes`, and answers with what it holds.
fn hold(bytes: u64) -> u64 {
    let blocks: Vec<Vec<u8>> = (0..bytes.div_ceil(BLOCK as u64)).map(|_| black_box(vec![1; BLOCK])).collect();
    black_box(&blocks).iter().map(|block| block.len() as u64).sum()
}

/// Reads beyond the end of the memory.
pub fn read_out_of_bounds() -> u8 {
    let beyond = black_box(usize::MAX) as *const u8;
    // SAFETY: none in the language's sense; the engine stops it with a trap,
    // which is what the test wants to see.
    unsafe { beyond.read_volatile() }
}

/// Divides as the machine does, without Rust's own check.
pub fn divide_by_zero() -> u64 {
    let (one, zero) = (black_box(1_u64), black_box(0));
    // SAFETY: untrue on purpose, so that no check is compiled and the machine's
    // own division traps; `black_box` keeps the optimizer from using the lie.
    unsafe { std::hint::assert_unchecked(zero != 0) };
    black_box(one / zero)
}

/// Sleeps in the host, where no instruction of the guest is executed.
pub fn sleep(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Writes `bytes` bytes, or until writing is refused; answers with what went.
pub fn flood(out: &mut dyn Write, bytes: u64) -> u64 {
    let block = [b'x'; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(BLOCK as u64) as usize;
        if out.write_all(&block[..part]).is_err() {
            break;
        }
        left -= part as u64;
    }
    // A stream that is gone has shown that above.
    let _ = out.flush();
    bytes - left
}

/// A JSON string of `bytes` bytes: valid, and more than anyone wants.
pub fn big(bytes: u64) -> i64 {
    let mut text = vec![b'x'; bytes.max(2) as usize];
    if let [first, .., last] = text.as_mut_slice() {
        (*first, *last) = (b'"', b'"');
    }
    bytes_abi::ok(text)
}

/// How many calls this instance has seen, this one included: always 1 where
/// every task has an instance of its own.
pub fn count() -> u64 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}
