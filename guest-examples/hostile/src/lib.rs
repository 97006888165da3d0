//! Every way in which a task can misbehave, for the pool's own tests.
//!
//! `run` (the `bytes` ABI) takes the misbehaviour from the item: `"loop"`,
//! `"exit:7"`, `"flood:10G"`; README.md has the list. The misbehaviours that
//! need no text are exported by name as well.

mod deeds;
mod named;
mod order;
mod probes;

use order::Order;

/// The task: does what the item says. What survives answers with JSON.
///
/// # Safety
/// `ptr` came from `alloc(len)` and holds the item.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(ptr: *mut u8, len: usize) -> i64 {
    // SAFETY: the caller's promise, passed on.
    let item = unsafe { bytes_abi::take(ptr, len) };
    let Ok(item) = String::from_utf8(item) else {
        return bytes_abi::error(b"the order is not UTF-8".to_vec());
    };
    let order = Order::parse(&item);
    match deeds::perform(&order).or_else(|| probes::answer(&order)) {
        Some(result) => result,
        None => bytes_abi::error(format!("unknown order {:?}", order.verb).into_bytes()),
    }
}

/// A JSON value as a result.
fn json(value: impl Into<serde_json::Value>) -> i64 {
    bytes_abi::ok(value.into().to_string().into_bytes())
}
