//! The layers of the lock-down by name, what each stops, and which of them a
//! worker cannot do without.

/// One layer. The order is that in which a worker applies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Nothing of the host's environment is there to be read.
    Environment,
    /// The kernel kills the worker with its host.
    DeathSignal,
    /// A session of its own: no terminal to type into.
    Session,
    /// The kernel takes a worker before the host when memory runs out.
    OomFirst,
    /// Only the descriptors that the host sent are open.
    Descriptors,
    /// No core dumps.
    CoreSize,
    /// Few descriptors.
    OpenFiles,
    /// A user namespace: privileges mean nothing outside of it.
    UserNamespace,
    /// A mount namespace.
    MountNamespace,
    /// A network namespace without any device.
    NetworkNamespace,
    /// A namespace for System V and POSIX message queues.
    IpcNamespace,
    /// A namespace for host names.
    UtsNamespace,
    /// A root directory that holds only what was granted.
    EmptyRoot,
    /// No capabilities.
    Capabilities,
    /// No program executed from here gains privileges.
    NoNewPrivs,
    /// Landlock on files.
    LandlockFiles,
    /// Landlock on TCP.
    LandlockNetwork,
    /// Landlock on signals and abstract sockets.
    LandlockScopes,
    /// Files do not grow.
    FileSize,
    /// No further processes or threads.
    Processes,
    /// Writable memory is bounded.
    Data,
    /// Processor time is bounded.
    Cpu,
    /// Other processes of the user cannot look into this one.
    NonDumpable,
    /// No memory becomes executable.
    NoNewCode,
    /// The system calls that are left.
    Seccomp,
}

impl Layer {
    /// All layers.
    pub const ALL: [Self; 25] = [
        Self::Environment,
        Self::DeathSignal,
        Self::Session,
        Self::OomFirst,
        Self::Descriptors,
        Self::CoreSize,
        Self::OpenFiles,
        Self::UserNamespace,
        Self::MountNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::EmptyRoot,
        Self::Capabilities,
        Self::NoNewPrivs,
        Self::LandlockFiles,
        Self::LandlockNetwork,
        Self::LandlockScopes,
        Self::FileSize,
        Self::Processes,
        Self::Data,
        Self::Cpu,
        Self::NonDumpable,
        Self::NoNewCode,
        Self::Seccomp,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::DeathSignal => "parent-death-signal",
            Self::Session => "session",
            Self::OomFirst => "oom-first",
            Self::Descriptors => "descriptors",
            Self::CoreSize => "core-size",
            Self::OpenFiles => "open-files",
            Self::UserNamespace => "user-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::NetworkNamespace => "network-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::EmptyRoot => "empty-root",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no-new-privs",
            Self::LandlockFiles => "landlock-files",
            Self::LandlockNetwork => "landlock-network",
            Self::LandlockScopes => "landlock-scopes",
            Self::FileSize => "file-size",
            Self::Processes => "processes",
            Self::Data => "data",
            Self::Cpu => "cpu",
            Self::NonDumpable => "non-dumpable",
            Self::NoNewCode => "no-new-code",
            Self::Seccomp => "seccomp",
        }
    }

    /// What an attacker who runs native code in the worker loses by it.
    #[must_use]
    pub const fn stops(self) -> &'static str {
        match self {
            Self::Environment => "reading the host's environment variables",
            Self::DeathSignal => "outliving the host",
            Self::Session => "typing into the user's terminal",
            Self::OomFirst => "having the host killed for the memory it took",
            Self::Descriptors => "using files that the host's parents left open",
            Self::CoreSize => "filling the disk with core dumps",
            Self::OpenFiles => "exhausting the system's file table",
            Self::UserNamespace => "using any privilege outside of the worker",
            Self::MountNamespace => "changing what others see mounted",
            Self::NetworkNamespace => "reaching any network, even the machine's own",
            Self::IpcNamespace => "reaching message queues and shared memory of others",
            Self::UtsNamespace => "renaming the machine",
            Self::EmptyRoot => "seeing any file that was not granted",
            Self::Capabilities => "acting as a superuser",
            Self::NoNewPrivs => "gaining privileges from set-user-ID programs",
            Self::LandlockFiles => "opening any file that was not granted",
            Self::LandlockNetwork => "TCP connections and servers",
            Self::LandlockScopes => "signals and abstract sockets to processes outside",
            Self::FileSize => "writing files",
            Self::Processes => "starting processes (users other than root)",
            Self::Data => "taking more memory than the limits allow",
            Self::Cpu => "compiling for ever",
            Self::NonDumpable => "being read or steered by other processes of the user",
            Self::NoNewCode => "making new machine code executable",
            Self::Seccomp => "every system call that tasks do not need",
        }
    }

    /// Whether `--sandbox enforce` refuses to run without it.
    #[must_use]
    pub const fn required(self) -> bool {
        matches!(self, Self::NoNewPrivs | Self::Seccomp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_all_are_listed() {
        let names: std::collections::BTreeSet<_> = Layer::ALL.iter().map(|layer| layer.name()).collect();
        assert_eq!(names.len(), Layer::ALL.len());
    }
}
