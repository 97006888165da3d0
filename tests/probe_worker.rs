//! A worker that tries what the lock-down forbids: it is locked down as every
//! worker is, then makes whatever system call its item asks for. For tests;
//! never installed.
//!
//! `probe-worker cripple LAYER COMMAND…` executes a command on a system that
//! seems to lack a layer.

#![allow(
    unsafe_code,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test's worker: its system calls are meant to go wrong"
)]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["__worker"] => wpool::worker::main_acting(act),
        ["cripple", layer, program, rest @ ..] => {
            cripple(layer);
            let error = Command::new(program).args(rest).exec();
            panic!("{program}: {error}")
        }
        _ => ExitCode::FAILURE,
    }
}

/// An order: `[number, argument, …]` is a system call, whose result or error
/// comes back; a string is something that takes more than one.
/// For a compile worker the order is a comment of the module; the worker of an
/// initializer has its arguments for one.
fn act(order: &[u8]) -> String {
    let text = String::from_utf8_lossy(order);
    match serde_json::from_str(text.split(";; ").last().unwrap_or_default()) {
        Ok(Value::Array(numbers)) => {
            let numbers: Vec<i64> = numbers.iter().map(|number| number.as_i64().expect("a number")).collect();
            let mut arguments = [0_i64; 6];
            arguments[..numbers.len() - 1].copy_from_slice(&numbers[1..]);
            let [a, b, c, d, e, f] = arguments;
            // SAFETY: none; what becomes of this process is what is tested.
            let result = unsafe { libc::syscall(numbers[0], a, b, c, d, e, f) };
            told(result)
        }
        Ok(Value::String(name)) => named(&name),
        _ => "\"what?\"".to_owned(),
    }
}

fn told(result: i64) -> String {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    if result >= 0 { result.to_string() } else { (-i64::from(errno)).to_string() }
}

fn named(name: &str) -> String {
    let (deed, path) = name.split_once(' ').unwrap_or((name, ""));
    let path = std::ffi::CString::new(path).expect("no zero");
    // SAFETY: strings end in zeros; else as above.
    unsafe {
        match deed {
            "read" => told(libc::open(path.as_ptr(), libc::O_RDONLY).into()),
            "write" => told(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o600).into()),
            "spawn" => format!("\"{:?}\"", Command::new("/bin/true").status().map_err(|error| error.kind())),
            "thread" => format!("\"{:?}\"", std::thread::Builder::new().spawn(|| ()).is_ok()),
            "connect" => format!("\"{:?}\"", std::net::TcpStream::connect("127.0.0.1:9").is_ok()),
            "reach" => {
                let reached = std::net::TcpStream::connect(path.to_str().expect("text"));
                format!("\"{:?}\"", reached.err().map(|error| error.kind()))
            }
            "abort" => std::process::abort(),
            "panic" => format!("{:?}", std::panic::catch_unwind(|| panic!("on purpose")).is_err()),
            "overflow" => overflow(1).to_string(),
            "heap" => heap().to_string(),
            // On the threads that the engine compiles on.
            "heaps" => rayon::broadcast(|_| heap()).len().to_string(),
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_millis(400));
                "1".to_owned()
            }
            "i386" => i386(),
            _ => "\"what?\"".to_owned(),
        }
    }
}

/// Memory given back to the system, block after block.
fn heap() -> usize {
    let blocks: Vec<Vec<u8>> = (0..2000).map(|size| vec![1; size * 100]).collect();
    blocks.iter().map(Vec::len).sum()
}

#[expect(unconditional_recursion, reason = "the stack is meant to overflow")]
fn overflow(depth: u64) -> u64 {
    let block = std::hint::black_box([depth; 512]);
    overflow(block[0] + 1) + block[1]
}

/// `getpid` as 32-bit programs call it.
#[cfg(target_arch = "x86_64")]
fn i386() -> String {
    let mut result = 20_i64;
    // SAFETY: the interrupt changes the one register; or ends the process.
    unsafe { std::arch::asm!("int 0x80", inout("rax") result) };
    result.to_string()
}

#[cfg(not(target_arch = "x86_64"))]
fn i386() -> String {
    std::process::abort()
}

/// Makes system calls that a layer needs fail, as on kernels without it.
fn cripple(layer: &str) {
    let first = |number: i64, value: i32| {
        let first = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value as u64);
        (number, vec![SeccompRule::new(vec![first.expect("argument")]).expect("rule")])
    };
    let any = |number: i64| (number, Vec::new());
    let rules = match layer {
        "seccomp" => vec![any(libc::SYS_seccomp), first(libc::SYS_prctl, libc::PR_SET_SECCOMP)],
        "no-new-privs" => vec![first(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS)],
        "namespaces" => vec![any(libc::SYS_unshare)],
        "mounts" => vec![any(libc::SYS_fsopen), any(libc::SYS_open_tree), any(libc::SYS_mount)],
        "landlock" => vec![any(libc::SYS_landlock_create_ruleset)],
        "all" => vec![
            any(libc::SYS_unshare),
            any(libc::SYS_landlock_create_ruleset),
            any(libc::SYS_close_range),
            first(libc::SYS_prctl, 65),
        ],
        other => panic!("no layer {other}"),
    };
    let arch = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, refused, arch).expect("filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("program");
    if layer == "no-new-privs" {
        // The usual way begins with what this takes away; a superuser can do
        // without.
        raw_filter(&program);
    } else {
        seccompiler::apply_filter(&program).expect("applied");
    }
}

fn raw_filter(program: &[seccompiler::sock_filter]) {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("short"),
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the program lives through the call, which copies it.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
