//! The system-call filter: an allow-list, and death for anything else.

pub mod table;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use self::table::{Call, Form, Test};

/// What a worker does, as far as it decides what it may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// It compiles one module.
    Compile,
    /// It runs tasks.
    Run(Files, Net),
}

/// What tasks may do with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Files {
    /// Nothing: no file can be opened.
    None,
    /// Read directories.
    Read,
    /// Read and write directories.
    Write,
}

/// What tasks may do with sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Net {
    /// Nothing.
    None,
    /// Wait for a connection that the host hands over, and close it.
    Connections,
    /// Make sockets of their own. Which addresses they reach is the business
    /// of the engine and of landlock.
    Sockets,
}

/// An architecture that filters are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// The one this program runs on.
    #[must_use]
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// The number of a call, where it exists.
    #[must_use]
    pub fn number(self, call: &Call) -> Option<i64> {
        match self {
            Self::X86_64 => call.x86_64.map(i64::from),
            Self::Aarch64 => call.aarch64.map(i64::from),
        }
    }
}

impl Profile {
    /// The calls that are allowed.
    pub fn calls(self) -> impl Iterator<Item = &'static Call> {
        let none: &[Call] = &[];
        let (role, files, net) = match self {
            Self::Compile => (table::COMPILE, Files::None, Net::None),
            Self::Run(files, net) => (table::RUN, files, net),
        };
        let read = if files >= Files::Read { table::READ_FILES } else { none };
        let write = if files >= Files::Write { table::WRITE_FILES } else { none };
        let connections = if net >= Net::Connections { table::CONNECTIONS } else { none };
        let sockets = if net >= Net::Sockets { table::SOCKETS } else { table::NO_SOCKETS };
        table::ALWAYS.iter().chain(role).chain(read).chain(write).chain(connections).chain(sockets)
    }
}

/// The filter's program; `pid` is the worker's own.
///
/// # Errors
/// None for our tables; the compiler's own.
pub fn program(profile: Profile, arch: Arch, pid: u32) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for call in profile.calls() {
        let Some(number) = arch.number(call) else { continue };
        let forms = call.forms.iter().map(|form| rule(form, pid)).collect::<Result<Vec<_>, _>>()?;
        rules.insert(number, forms);
    }
    let target = match arch {
        Arch::X86_64 => TargetArch::x86_64,
        Arch::Aarch64 => TargetArch::aarch64,
    };
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, target)?.try_into()
}

fn rule(form: Form, pid: u32) -> Result<SeccompRule, BackendError> {
    let conditions = form.iter().map(|test| condition(*test, pid)).collect::<Result<_, _>>()?;
    SeccompRule::new(conditions)
}

fn condition(test: Test, pid: u32) -> Result<SeccompCondition, BackendError> {
    let (argument, operator, value) = match test {
        Test::Is(argument, number) => (argument, SeccompCmpOp::Eq, number),
        Test::Lacks(argument, bits) => (argument, SeccompCmpOp::MaskedEq(bits.into()), 0),
        Test::IsBut { argument, but, is } => (argument, SeccompCmpOp::MaskedEq((!but).into()), is),
        Test::IsOwnPid(argument) => (argument, SeccompCmpOp::Eq, pid),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
}

/// Takes every other system call away from all threads of this process.
///
/// # Errors
/// When the kernel has no filters, or a thread cannot have this one.
pub fn restrict(profile: Profile) -> io::Result<()> {
    let arch = Arch::native().ok_or_else(|| io::Error::other("no filter is written for this architecture"))?;
    let pid = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let program = program(profile, arch, pid).map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        other => io::Error::other(other),
    })
}
