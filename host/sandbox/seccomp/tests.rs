//! The tables against the kernel's numbers, and the filters made of them, run
//! by a small interpreter: every call of both architectures, allowed or dead.

use std::collections::BTreeMap;

use seccompiler::BpfProgram;

use super::table::{self, Call, Test};
use super::{Arch, Files, Net, Profile, program};

const PROFILES: [Profile; 8] = [
    Profile::Compile,
    Profile::Run(Files::None, Net::None),
    Profile::Run(Files::Read, Net::None),
    Profile::Run(Files::Write, Net::None),
    Profile::Run(Files::None, Net::Connections),
    Profile::Run(Files::Write, Net::Connections),
    Profile::Run(Files::None, Net::Sockets),
    Profile::Run(Files::Write, Net::Sockets),
];

/// Past the last number that either architecture has given out.
const END: u32 = 600;

const PID: u32 = 4242;
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

fn audit(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => 0xC000_003E,
        Arch::Aarch64 => 0xC000_00B7,
    }
}

/// What the kernel hands to a filter: number, architecture, instruction
/// pointer, six arguments.
fn data(number: u32, arch: u32, arguments: [u64; 6]) -> Vec<u8> {
    let mut bytes = [number.to_le_bytes(), arch.to_le_bytes()].concat();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    bytes
}

/// Runs a classic BPF program over `data`; knows the instructions that
/// filters are made of.
fn verdict(program: &BpfProgram, data: &[u8]) -> u32 {
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        match step.code {
            0x20 => {
                let from = step.k as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => accumulator &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x06 => return step.k,
            other => panic!("an instruction that filters do not use: {other:#x}"),
        }
    }
}

/// Arguments that pass all tests of a form, and for each test some that fail
/// it alone.
fn arguments(form: &[Test]) -> ([u64; 6], Vec<[u64; 6]>) {
    let mut good = [0; 6];
    for test in form {
        match *test {
            Test::Is(argument, number) => good[usize::from(argument)] = number.into(),
            Test::Lacks(argument, bits) => good[usize::from(argument)] = (!bits).into(),
            Test::IsBut { argument, but, is } => good[usize::from(argument)] = (is | but).into(),
            Test::IsOwnPid(argument) => good[usize::from(argument)] = PID.into(),
        }
    }
    let bad = form.iter().map(|test| {
        let mut arguments = good;
        match *test {
            Test::Is(argument, _) | Test::IsBut { argument, .. } => arguments[usize::from(argument)] = 0x7777_7777,
            Test::Lacks(argument, bits) => arguments[usize::from(argument)] = bits.into(),
            Test::IsOwnPid(argument) => arguments[usize::from(argument)] = u64::from(PID) + 1,
        }
        arguments
    });
    (good, bad.collect())
}

/// The calls of a profile by their numbers.
fn numbered(profile: Profile, arch: Arch) -> BTreeMap<u32, &'static Call> {
    profile.calls().filter_map(|call| arch.number(call).map(|number| (u32::try_from(number).unwrap(), call))).collect()
}

#[test]
fn what_is_in_the_table_is_allowed_and_all_else_is_death() {
    for profile in PROFILES {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let program = program(profile, arch, PID).unwrap();
            let allowed = numbered(profile, arch);
            assert!(allowed.len() > 25);
            for number in 0..END {
                let seen = |arguments| verdict(&program, &data(number, audit(arch), arguments));
                let Some(call) = allowed.get(&number) else {
                    assert_eq!(seen([0; 6]), KILL_PROCESS, "{profile:?} {arch:?} {number}");
                    assert_eq!(seen([u64::MAX; 6]), KILL_PROCESS, "{profile:?} {arch:?} {number}");
                    continue;
                };
                if call.forms.is_empty() {
                    assert_eq!(seen([u64::MAX; 6]), ALLOW, "{profile:?} {arch:?} {}", call.name);
                }
                for form in call.forms {
                    let (good, bad) = arguments(form);
                    assert_eq!(seen(good), ALLOW, "{profile:?} {arch:?} {} {good:?}", call.name);
                    for arguments in bad {
                        assert_eq!(seen(arguments), KILL_PROCESS, "{profile:?} {arch:?} {} {arguments:?}", call.name);
                    }
                }
            }
        }
    }
}

#[test]
fn calls_of_another_architecture_are_death() {
    const I386: u32 = 0x4000_0003;
    const X32: u32 = 0x4000_0000;
    let program = program(Profile::Run(Files::Write, Net::Sockets), Arch::X86_64, PID).unwrap();
    for number in 0..END {
        assert_eq!(verdict(&program, &data(number, I386, [0; 6])), KILL_PROCESS, "i386 {number}");
        assert_eq!(verdict(&program, &data(number, audit(Arch::Aarch64), [0; 6])), KILL_PROCESS, "arm {number}");
        assert_eq!(verdict(&program, &data(X32 | number, audit(Arch::X86_64), [0; 6])), KILL_PROCESS, "x32 {number}");
    }
}

#[test]
fn no_profile_starts_traces_mounts_or_signals_and_only_that_for_sockets_connects() {
    const NEVER: [&str; 30] = [
        "execve",
        "execveat",
        "fork",
        "vfork",
        "clone",
        "clone3",
        "socket",
        "socketpair",
        "connect",
        "bind",
        "listen",
        "accept4",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "kill",
        "tkill",
        "pidfd_open",
        "pidfd_getfd",
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "userfaultfd",
        "memfd_create",
        "prctl",
        "seccomp",
    ];
    for profile in PROFILES {
        let granted: &[&str] = match profile {
            Profile::Run(_, Net::Sockets) => &["socket", "connect", "bind", "listen", "accept4"],
            Profile::Run(_, Net::None | Net::Connections) | Profile::Compile => &[],
        };
        let never = |name: &&str| NEVER.contains(name) && !granted.contains(name);
        let found: Vec<_> = profile.calls().map(|call| call.name).filter(never).collect();
        assert!(found.is_empty(), "{profile:?}: {found:?}");
    }
}

#[test]
fn no_call_stands_in_a_profile_twice() {
    for profile in PROFILES {
        let mut names: Vec<_> = profile.calls().map(|call| call.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{profile:?}");
    }
}

/// The kernel's numbers, as the C library knows them on this machine.
macro_rules! native {
    ($($name:ident)*) => {
        [$((stringify!($name).trim_start_matches("SYS_"), libc::$name)),*]
    };
}

#[test]
fn numbers_are_those_of_the_kernel() {
    let Some(arch) = Arch::native() else { return };
    let mut native: BTreeMap<&str, i64> = native!(
        SYS_read SYS_write SYS_readv SYS_writev SYS_recvfrom SYS_recvmsg SYS_sendto SYS_sendmsg SYS_ppoll SYS_close
        SYS_mmap SYS_mprotect SYS_munmap SYS_mremap SYS_brk SYS_madvise SYS_futex SYS_sched_yield SYS_clock_gettime
        SYS_clock_getres SYS_clock_nanosleep SYS_restart_syscall SYS_getrandom SYS_rt_sigreturn SYS_sigaltstack
        SYS_rt_sigaction SYS_rt_sigprocmask SYS_getpid SYS_getrusage SYS_gettid SYS_tgkill SYS_exit SYS_exit_group SYS_ioctl
        SYS_epoll_pwait SYS_pwrite64 SYS_openat SYS_openat2 SYS_statx SYS_newfstatat SYS_fstat SYS_fcntl SYS_lseek
        SYS_pread64 SYS_preadv SYS_getdents64 SYS_readlinkat SYS_fadvise64 SYS_pwritev SYS_pwritev2 SYS_ftruncate
        SYS_fallocate
        SYS_fsync SYS_fdatasync SYS_mkdirat SYS_unlinkat SYS_renameat SYS_renameat2 SYS_linkat SYS_symlinkat
        SYS_utimensat SYS_epoll_ctl SYS_shutdown SYS_socket SYS_connect SYS_bind SYS_listen SYS_accept4
        SYS_getsockname SYS_getpeername SYS_setsockopt SYS_getsockopt
    )
    .into();
    #[cfg(target_arch = "x86_64")]
    native.extend(native!(SYS_poll SYS_epoll_wait));
    let tables = [
        table::ALWAYS,
        table::RUN,
        table::COMPILE,
        table::READ_FILES,
        table::WRITE_FILES,
        table::NO_SOCKETS,
        table::CONNECTIONS,
        table::SOCKETS,
    ];
    for call in tables.iter().flat_map(|table| table.iter()) {
        if let Some(number) = arch.number(call) {
            assert_eq!(native.get(call.name), Some(&number), "{}", call.name);
            native.extend([(call.name, number)]);
        }
    }
}
