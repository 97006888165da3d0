//! What a guest's ending means: engine errors to the closed vocabulary of
//! outcome kinds, with the particulars that records carry.

use std::time::Duration;

use rustix::io::Errno;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::capabilities::{SharedGrant, SharedKind};
use crate::limits::{GIB, KIB, Limits, MIB};
use crate::outcome::{Detail, Failure, Frame, Kind, LimitHit, MAX_FRAMES};
use crate::runtime::state::{Meter, Refused, State};

/// Why the host itself ended a guest, as an error that crosses the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostStop {
    /// The guest called exit.
    #[error("exit {0}")]
    Exit(i32),
    /// A captured stdout grew over `--max-result`.
    #[error("result too large")]
    ResultTooLarge,
    /// A stubbed import was called.
    #[error("import {import} was called")]
    Denied {
        /// The import's full name.
        import: String,
    },
    /// A shared object was opened that is not there.
    #[error("the {kind} {name:?} is not shared")]
    NotShared {
        /// What it is to be.
        kind: SharedKind,
        /// Its name, which is the guest's text.
        name: String,
    },
    /// A shared object was used as it cannot be.
    #[error("{0}")]
    Misuse(String),
}

/// Where in a task something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In a start function or `_initialize`.
    Init,
    /// In the task function.
    Task,
}

/// The exit code, where `error` is an exit.
#[must_use]
pub fn exit_code(error: &wasmtime::Error) -> Option<i32> {
    if let Some(HostStop::Exit(code)) = error.downcast_ref::<HostStop>() {
        return Some(*code);
    }
    error.downcast_ref::<I32Exit>().map(|exit| exit.0)
}

/// The failure that `error` is, with everything that the store knows of it.
#[must_use]
pub fn failure<W>(error: &wasmtime::Error, state: &State<W>, limits: &Limits, phase: Phase) -> Failure {
    let meter = &state.meter;
    let failure = match (error.downcast_ref::<HostStop>(), error.downcast_ref::<Trap>(), exit_code(error)) {
        (_, _, Some(code)) => exited(code),
        (Some(stop), _, _) => stopped(stop, limits),
        (_, Some(trap), _) => trapped(*trap, error, meter, limits),
        (None, None, None) => other(error, meter, phase),
    };
    finish(failure, state, phase)
}

/// Adds what a store knows to a failure that the host found itself.
#[must_use]
pub fn finish<W>(failure: Failure, state: &State<W>, phase: Phase) -> Failure {
    let mut failure = failure.with(|detail| {
        detail.memory_refused = state.meter.refused();
        if phase == Phase::Init {
            detail.phase = Some("init".to_owned());
        }
        detail.denied.extend(state.denied.iter().map(|&flag| flag.to_owned()));
        for frame in &mut detail.frames {
            frame.offset = frame.offset.map(|offset| state.given(offset));
        }
    });
    if !state.denied.is_empty() {
        failure.message.push_str(&format!(" (it asked for what {} grants)", state.denied.join(" and ")));
    }
    failure
}

/// A result that is larger than `--max-result`.
#[must_use]
pub fn result_too_large(limits: &Limits) -> Failure {
    let hit = LimitHit::new("max-result", limits.max_result, "bytes", "--max-result");
    let what = format!("result is larger than {}", size_text(limits.max_result));
    Failure::limit(Kind::ResultTooLarge, what, hit)
}

fn exited(code: i32) -> Failure {
    Failure::new(Kind::Exit, format!("exit code {code}")).with(|detail| detail.code = Some(code.into()))
}

fn stopped(stop: &HostStop, limits: &Limits) -> Failure {
    match stop {
        HostStop::Exit(code) => exited(*code),
        HostStop::ResultTooLarge => result_too_large(limits),
        HostStop::Denied { import } => {
            Failure::new(Kind::Denied, format!("import {import} was called, and nothing answers it"))
                .with(|detail| detail.import = Some(import.clone()))
        }
        HostStop::NotShared { kind, name } => not_shared(*kind, name),
        HostStop::Misuse(why) => {
            Failure::new(Kind::Trap, why).with(|detail| detail.trap = Some("shared-object".to_owned()))
        }
    }
}

/// The failure that names the object and what grants it.
fn not_shared(kind: SharedKind, name: &str) -> Failure {
    let shown = short_name(name);
    let message = match SharedGrant::new(kind, name, 1) {
        Ok(_) if kind.is_bounded() => {
            format!("the {kind} {shown:?} is not shared (--shared {kind}:{shown}:N grants it)")
        }
        Ok(_) => format!("the {kind} {shown:?} is not shared (--shared {kind}:{shown} grants it)"),
        Err(_) => format!("the {kind} {shown:?} is not shared, and --shared takes no such name"),
    };
    Failure::new(Kind::Denied, message).with(|detail| {
        detail.import = Some(format!("wpool:pool/{kind}"));
        detail.denied = vec!["--shared".to_owned()];
    })
}

fn trapped(trap: Trap, error: &wasmtime::Error, meter: &Meter, limits: &Limits) -> Failure {
    match trap {
        Trap::Interrupt => over_time(limits),
        Trap::OutOfFuel => {
            let fuel = limits.fuel.unwrap_or_default();
            let hit = LimitHit::new("fuel", fuel, "instructions", "--fuel");
            Failure::limit(Kind::OutOfFuel, format!("ran more than {fuel} instructions"), hit)
        }
        Trap::StackOverflow => {
            let hit = LimitHit::new("stack", limits.stack, "bytes", "--stack");
            let what = format!("the stack grew over {}", size_text(limits.stack));
            Failure::limit(Kind::StackOverflow, what, hit).with(|detail| set_frames(detail, error))
        }
        _ if meter.just_refused().is_some() && follows_refusal(trap) => out_of_memory(meter).with(|detail| {
            detail.trap = Some(trap_name(trap).to_owned());
            set_frames(detail, error);
        }),
        _ => {
            let mut failure = Failure::new(Kind::Trap, trap_text(trap)).with(|detail| {
                detail.trap = Some(trap_name(trap).to_owned());
                set_frames(detail, error);
            });
            if let Some(name) = failure.detail.frames.first().and_then(|frame| frame.func.as_deref()) {
                failure.message.push_str(&format!(" in {name}"));
            }
            failure
        }
    }
}

/// Whether the system refused memory. The engine passes on what it was told in
/// more than one form.
#[must_use]
pub fn no_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref() == Some(&Errno::NOMEM)
            || cause.downcast_ref().and_then(Errno::from_io_error) == Some(Errno::NOMEM)
    }) || error.downcast_ref() == Some(&Errno::NOMEM)
        || error.downcast_ref().and_then(Errno::from_io_error) == Some(Errno::NOMEM)
}

/// An error that is neither a trap nor ours: a host call gave up, or an
/// instance could not be made.
fn other(error: &wasmtime::Error, meter: &Meter, phase: Phase) -> Failure {
    if phase == Phase::Init && meter.just_refused().is_some() {
        return out_of_memory(meter);
    }
    if no_memory(error) {
        return Failure::new(Kind::OutOfMemory, "the system gave its worker no memory");
    }
    Failure::new(Kind::Trap, error.root_cause().to_string()).with(|detail| {
        detail.trap = Some("host-call".to_owned());
        set_frames(detail, error);
    })
}

/// A task that needed more than `--memory`, or than a table may hold.
#[must_use]
pub fn out_of_memory(meter: &Meter) -> Failure {
    if meter.just_refused() == Some(Refused::TableElements) {
        let most = meter.table_elements();
        return Failure::new(Kind::OutOfMemory, format!("needed a table of more than {most} elements"));
    }
    let hit = LimitHit::new("memory", meter.limit(), "bytes", "--memory");
    Failure::limit(Kind::OutOfMemory, format!("needed more than {} of memory", size_text(meter.limit())), hit)
}

/// A task that ran longer than `--timeout`.
#[must_use]
pub fn over_time(limits: &Limits) -> Failure {
    let timeout = limits.timeout.unwrap_or_default();
    let hit = LimitHit::new("timeout", timeout.as_millis().try_into().unwrap_or(u64::MAX), "ms", "--timeout");
    Failure::limit(Kind::Timeout, format!("ran longer than {}", time_text(timeout)), hit)
}

/// Traps by which a guest ends itself when it gets no memory: an abort, or
/// the use of a pointer or table slot that was never there.
fn follows_refusal(trap: Trap) -> bool {
    matches!(
        trap,
        Trap::UnreachableCodeReached
            | Trap::MemoryOutOfBounds
            | Trap::TableOutOfBounds
            | Trap::IndirectCallToNull
            | Trap::NullReference
            | Trap::AllocationTooLarge
    )
}

/// The stable name of a trap, as in records.
#[must_use]
pub fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds => "memory-out-of-bounds",
        Trap::TableOutOfBounds => "table-out-of-bounds",
        Trap::ArrayOutOfBounds => "array-out-of-bounds",
        Trap::IndirectCallToNull => "indirect-call",
        Trap::BadSignature => "bad-signature",
        Trap::IntegerDivisionByZero => "divide-by-zero",
        Trap::IntegerOverflow => "integer-overflow",
        Trap::BadConversionToInteger => "bad-conversion",
        Trap::NullReference => "null-reference",
        Trap::CastFailure => "bad-cast",
        Trap::AllocationTooLarge => "allocation-too-large",
        Trap::HeapMisaligned | Trap::UnalignedPointer => "unaligned",
        Trap::AtomicWaitNonSharedMemory => "atomic-wait",
        Trap::UncaughtException => "uncaught-exception",
        Trap::CannotEnterComponent | Trap::CannotLeaveComponent => "component-reentry",
        Trap::StringOutOfBounds | Trap::ListOutOfBounds | Trap::InvalidChar | Trap::InvalidDiscriminant => "bad-value",
        Trap::StackOverflow => "stack-overflow",
        Trap::Interrupt => "interrupt",
        Trap::OutOfFuel => "out-of-fuel",
        // The engine's list is open; the rest belongs to proposals that are off.
        _ => "other",
    }
}

fn trap_text(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "unreachable executed".to_owned(),
        Trap::MemoryOutOfBounds => "memory access out of bounds".to_owned(),
        Trap::TableOutOfBounds => "table access out of bounds".to_owned(),
        Trap::IndirectCallToNull => "indirect call of an empty table slot".to_owned(),
        Trap::BadSignature => "indirect call with another signature".to_owned(),
        Trap::IntegerDivisionByZero => "integer division by zero".to_owned(),
        Trap::BadConversionToInteger => "float does not fit the integer".to_owned(),
        _ => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
    }
}

fn set_frames(detail: &mut Detail, error: &wasmtime::Error) {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return };
    detail.frames = backtrace
        .frames()
        .iter()
        .take(MAX_FRAMES)
        .map(|frame| Frame {
            func: frame.func_name().map(short_name),
            index: frame.func_index(),
            offset: frame.module_offset().map(|offset| offset as u64),
        })
        .collect();
}

/// Longest function name that a record keeps, in bytes: names are the guest's
/// and may be megabytes long.
const MAX_NAME: usize = 256;

fn short_name(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME)].to_owned()
}

/// A size as people write it in flags.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    for (unit, name) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

fn time_text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
