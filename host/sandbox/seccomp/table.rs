//! The system calls that workers may make, as data: what is not here kills.
//!
//! Found by running the whole test suite and leaving one out after another.
//! The filter and its tests are both made of these tables.

/// A system call, with its number on each architecture.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// Its number on x86-64, where it exists there.
    pub x86_64: Option<u16>,
    /// Its number on 64-bit ARM, where it exists there.
    pub aarch64: Option<u16>,
    /// Arguments that are allowed, in any of these forms; none means all.
    pub forms: &'static [Form],
}

/// Arguments that are allowed together.
pub type Form = &'static [Test];

/// A test of one argument, counted from 0.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// It is this number.
    Is(u8, u32),
    /// None of these bits are set.
    Lacks(u8, u32),
    /// Without these bits it is this number.
    IsBut {
        /// The argument.
        argument: u8,
        /// Bits that do not matter.
        but: u32,
        /// What the others are.
        is: u32,
    },
    /// It is the process id of the worker itself.
    IsOwnPid(u8),
}

const fn call(name: &'static str, x86_64: u16, aarch64: u16) -> Call {
    Call { name, x86_64: Some(x86_64), aarch64: Some(aarch64), forms: &[] }
}

const fn only(name: &'static str, x86_64: u16, aarch64: u16, forms: &'static [Form]) -> Call {
    Call { name, x86_64: Some(x86_64), aarch64: Some(aarch64), forms }
}

/// Calls that younger architectures left out.
const fn old(name: &'static str, x86_64: u16) -> Call {
    Call { name, x86_64: Some(x86_64), aarch64: None, forms: &[] }
}

const PROT_EXEC: u32 = 4;
const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;
const MADV_NOHUGEPAGE: u32 = 15;
/// `PAGEMAP_SCAN`: which pages did a task dirty? Asked of `/proc/self/pagemap`,
/// which was opened before.
const PAGEMAP_SCAN: u32 = 0xC060_6610;
const RWF_APPEND: u32 = 16;
/// Connects while it sends, which landlock does not see as a connection.
const MSG_FASTOPEN: u32 = 0x2000_0000;
const F_GETFD: u32 = 1;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_DUPFD_CLOEXEC: u32 = 1030;
const SIGABRT: u32 = 6;
const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
/// `FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME`.
const FUTEX_FLAGS: u32 = 128 | 256;

const fn futex(operation: u32) -> Test {
    Test::IsBut { argument: 1, but: FUTEX_FLAGS, is: operation }
}

/// Every worker: its socket, its memory, its threads, its end.
pub const ALWAYS: &[Call] = &[
    // The socket to the host; last words on standard error.
    call("read", 0, 63),
    call("write", 1, 64),
    call("readv", 19, 65),
    call("writev", 20, 66),
    call("recvfrom", 45, 207),
    call("recvmsg", 47, 212),
    only("sendmsg", 46, 211, &[&[Test::Lacks(2, MSG_FASTOPEN)]]),
    old("poll", 7),
    call("ppoll", 271, 73),
    call("close", 3, 57),
    // Memory, none of it executable.
    only("mmap", 9, 222, &[&[Test::Lacks(2, PROT_EXEC)]]),
    only("mprotect", 10, 226, &[&[Test::Lacks(2, PROT_EXEC)]]),
    call("munmap", 11, 215),
    call("mremap", 25, 216),
    call("brk", 12, 214),
    only(
        "madvise",
        28,
        233,
        &[&[Test::Is(2, MADV_DONTNEED)], &[Test::Is(2, MADV_FREE)], &[Test::Is(2, MADV_NOHUGEPAGE)]],
    ),
    // Locks, without those that inherit priorities.
    only(
        "futex",
        202,
        98,
        &[&[futex(FUTEX_WAIT)], &[futex(FUTEX_WAKE)], &[futex(FUTEX_WAIT_BITSET)], &[futex(FUTEX_WAKE_BITSET)]],
    ),
    call("sched_yield", 24, 124),
    // Time and randomness.
    call("clock_gettime", 228, 113),
    call("clock_getres", 229, 114),
    call("clock_nanosleep", 230, 115),
    // After SIGSTOP and SIGCONT in a sleep.
    call("restart_syscall", 219, 128),
    call("getrandom", 318, 278),
    // Traps are signals; each thread has a stack for them.
    call("rt_sigreturn", 15, 139),
    call("sigaltstack", 131, 132),
    // An abort, so that it shows as one.
    call("rt_sigaction", 13, 134),
    call("rt_sigprocmask", 14, 135),
    call("getpid", 39, 172),
    call("gettid", 186, 178),
    only("tgkill", 234, 131, &[&[Test::IsOwnPid(0), Test::Is(2, SIGABRT)]]),
    // The end.
    call("exit", 60, 93),
    call("exit_group", 231, 94),
];

/// A worker that runs tasks.
pub const RUN: &[Call] = &[
    // Were there page faults since it was last asked which pages are dirty?
    // With any argument: what needs no look at arguments is quicker, and this
    // is asked after each task.
    call("getrusage", 98, 165),
    only("ioctl", 16, 29, &[&[Test::Is(1, PAGEMAP_SCAN)]]),
    // The runtime that WASI sleeps on.
    old("epoll_wait", 232),
    call("epoll_pwait", 281, 22),
];

/// A worker that makes no sockets: it sends on connected ones only, without an
/// address.
pub const NO_SOCKETS: &[Call] =
    &[only("sendto", 44, 206, &[&[Test::Lacks(3, MSG_FASTOPEN), Test::Is(4, 0), Test::Is(5, 0)]])];

/// A worker that is handed connections.
pub const CONNECTIONS: &[Call] = &[
    // Waiting for one together with a clock.
    call("epoll_ctl", 233, 21),
    // Its end, whoever else holds it.
    call("shutdown", 48, 210),
];

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
/// `SOCK_NONBLOCK | SOCK_CLOEXEC`.
const SOCK_FLAGS: u32 = 0o4000 | 0o2_000_000;
const IPPROTO_TCP: u32 = 6;

/// One kind of socket: nothing raw, no other families or protocols.
macro_rules! socket {
    ($family:expr, $kind:expr, $protocol:expr) => {
        &[Test::Is(0, $family), Test::IsBut { argument: 1, but: SOCK_FLAGS, is: $kind }, Test::Is(2, $protocol)]
    };
}

/// An option of sockets: its level and its number.
macro_rules! option {
    ($level:expr, $name:expr) => {
        &[Test::Is(1, $level), Test::Is(2, $name)]
    };
}

const SOL_IP: u32 = 0;
const SOL_SOCKET: u32 = 1;
const SOL_TCP: u32 = 6;
const SOL_IPV6: u32 = 41;

/// Options that WASI has names for: those that are set, and read.
const SET: &[Form] = &[
    option!(SOL_SOCKET, 2),  // SO_REUSEADDR
    option!(SOL_SOCKET, 7),  // SO_SNDBUF
    option!(SOL_SOCKET, 8),  // SO_RCVBUF
    option!(SOL_SOCKET, 9),  // SO_KEEPALIVE
    option!(SOL_SOCKET, 13), // SO_LINGER
    option!(SOL_TCP, 4),     // TCP_KEEPIDLE
    option!(SOL_TCP, 5),     // TCP_KEEPINTVL
    option!(SOL_TCP, 6),     // TCP_KEEPCNT
    option!(SOL_IP, 2),      // IP_TTL
    option!(SOL_IPV6, 16),   // IPV6_UNICAST_HOPS
    option!(SOL_IPV6, 26),   // IPV6_V6ONLY
];
const GET: &[Form] = &[
    option!(SOL_SOCKET, 4), // SO_ERROR
    option!(SOL_SOCKET, 7),
    option!(SOL_SOCKET, 8),
    option!(SOL_SOCKET, 9),
    option!(SOL_TCP, 4),
    option!(SOL_TCP, 5),
    option!(SOL_TCP, 6),
    option!(SOL_IP, 2),
    option!(SOL_IPV6, 16),
];

/// A worker whose tasks may make sockets. Names are not looked up here: the
/// host did.
pub const SOCKETS: &[Call] = &[
    only(
        "socket",
        41,
        198,
        &[
            socket!(AF_INET, SOCK_STREAM, 0),
            socket!(AF_INET, SOCK_STREAM, IPPROTO_TCP),
            socket!(AF_INET6, SOCK_STREAM, 0),
            socket!(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
            socket!(AF_INET, SOCK_DGRAM, 0),
            socket!(AF_INET6, SOCK_DGRAM, 0),
        ],
    ),
    call("connect", 42, 203),
    call("bind", 49, 200),
    call("listen", 50, 201),
    call("accept4", 288, 242),
    call("getsockname", 51, 204),
    call("getpeername", 52, 205),
    only("setsockopt", 54, 208, SET),
    only("getsockopt", 55, 209, GET),
    only("sendto", 44, 206, &[&[Test::Lacks(3, MSG_FASTOPEN)]]),
];

/// A worker that compiles: the artifact's descriptor.
pub const COMPILE: &[Call] = &[call("pwrite64", 18, 68)];

/// A worker whose tasks may read directories. Which files are reached is the
/// business of landlock, the root and the engine.
pub const READ_FILES: &[Call] = &[
    call("openat", 257, 56),
    call("openat2", 437, 437),
    call("statx", 332, 291),
    call("newfstatat", 262, 79),
    call("fstat", 5, 80),
    // Flags and copies of descriptors. Not the owner of a descriptor, nor its
    // signal: the kernel would send any signal to any process of the user.
    only(
        "fcntl",
        72,
        25,
        &[&[Test::Is(1, F_GETFD)], &[Test::Is(1, F_GETFL)], &[Test::Is(1, F_SETFL)], &[Test::Is(1, F_DUPFD_CLOEXEC)]],
    ),
    call("lseek", 8, 62),
    call("pread64", 17, 67),
    call("preadv", 295, 69),
    call("getdents64", 217, 61),
    call("readlinkat", 267, 78),
    call("fadvise64", 221, 223),
    // A guest that writes to what it opened for reading, or has it written
    // out, gets the kernel's error; it does not die of it.
    call("pwrite64", 18, 68),
    call("pwritev", 296, 70),
    // Appending, which is all that the engine does with it.
    only("pwritev2", 328, 287, &[&[Test::Is(5, RWF_APPEND)]]),
    call("fsync", 74, 82),
    call("fdatasync", 75, 83),
];

/// A worker whose tasks may change directories.
pub const WRITE_FILES: &[Call] = &[
    call("ftruncate", 77, 46),
    call("fallocate", 285, 47),
    call("mkdirat", 258, 34),
    call("unlinkat", 263, 35),
    call("renameat", 264, 38),
    call("renameat2", 316, 276),
    call("linkat", 265, 37),
    call("symlinkat", 266, 36),
    call("utimensat", 280, 88),
];
