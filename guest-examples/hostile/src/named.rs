//! The misbehaviours that need no text, as exports over plain numbers, for
//! tests that name a function. Names with a hyphen would otherwise be those of
//! functions of the C library, which the linker would replace by these.

use crate::deeds;

#[unsafe(export_name = "loop")]
extern "C" fn spin_for_ever() {
    deeds::spin_for_ever();
}

#[unsafe(export_name = "spin")]
extern "C" fn spin(rounds: i64) -> i64 {
    deeds::spin(rounds as u64) as i64
}

#[unsafe(export_name = "recurse")]
extern "C" fn recurse() -> i64 {
    deeds::recurse(0) as i64
}

#[unsafe(export_name = "grow")]
extern "C" fn grow() {
    deeds::grow_for_ever();
}

#[unsafe(export_name = "trap")]
extern "C" fn trap() {
    std::arch::wasm32::unreachable();
}

#[unsafe(export_name = "oob")]
extern "C" fn out_of_bounds() -> i32 {
    deeds::read_out_of_bounds().into()
}

#[unsafe(export_name = "div0")]
extern "C" fn divide_by_zero() -> i64 {
    deeds::divide_by_zero() as i64
}

#[unsafe(export_name = "panic")]
extern "C" fn panic() {
    panic!("by name");
}

#[unsafe(export_name = "exit-with")]
extern "C" fn exit(code: i32) {
    std::process::exit(code);
}

#[unsafe(export_name = "abort-now")]
extern "C" fn abort() {
    std::process::abort();
}

#[unsafe(export_name = "sleep-ms")]
extern "C" fn sleep(milliseconds: i64) -> i64 {
    deeds::sleep(milliseconds as u64) as i64
}

#[unsafe(export_name = "flood")]
extern "C" fn flood(bytes: i64) -> i64 {
    deeds::flood(&mut std::io::stdout(), bytes as u64) as i64
}

#[unsafe(export_name = "flood-stderr")]
extern "C" fn flood_stderr(bytes: i64) -> i64 {
    deeds::flood(&mut std::io::stderr(), bytes as u64) as i64
}

#[unsafe(export_name = "count")]
extern "C" fn count() -> i64 {
    deeds::count() as i64
}
