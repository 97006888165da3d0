//! What this machine gives to one run: processors by affinity and cgroup
//! quota, memory by cgroup limits, and the number of workers that fits.
//!
//! Reads `/proc` and `/sys` below a root that tests can replace.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::MIB;

/// Memory kept for the host process.
const HOST: u64 = 64 * MIB;

/// What a worker needs beside guest memory.
const OVERHEAD: u64 = 16 * MIB;

/// Share of the machine's memory that a run takes by default, in percent.
const SHARE: u64 = 90;

/// A v1 limit at least this large means no limit.
const UNLIMITED: u64 = 1 << 60;

/// What the machine, or the container around us, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processors this process may use at once.
    pub cpus: NonZeroUsize,
    /// The smallest memory limit that applies, or all memory, in bytes.
    pub memory: Option<u64>,
}

/// How many workers, and why if it is not the number of processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many.
    pub count: NonZeroUsize,
    /// What to tell the user, where memory decided or is exceeded.
    pub note: Option<String>,
}

impl Machine {
    /// Looks at the machine.
    #[must_use]
    pub fn detect() -> Self {
        let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
        Self::read(Path::new("/"), affinity)
    }

    /// Looks at the files below `root`; `affinity` is the number of
    /// processors this process may run on.
    #[must_use]
    pub fn read(root: &Path, affinity: usize) -> Self {
        let groups = groups(root);
        let quota = groups.iter().filter_map(|group| group.cpus()).min();
        let cpus = NonZeroUsize::new(quota.unwrap_or(usize::MAX).min(affinity)).unwrap_or(NonZeroUsize::MIN);
        let limit = groups.iter().filter_map(Group::memory).min();
        let memory = limit.into_iter().chain(total(root)).min();
        Self { cpus, memory }
    }

    /// What all processes of a run may use together by default, in bytes.
    #[must_use]
    pub fn budget(&self) -> Option<u64> {
        self.memory.map(|memory| memory / 100 * SHARE)
    }

    /// The default number of workers for guests of `memory` bytes.
    #[must_use]
    pub fn workers(&self, total: Option<u64>, memory: u64) -> Workers {
        let fits = fitting(total.or_else(|| self.budget()), memory);
        if fits >= self.cpus.get() {
            return Workers { count: self.cpus, note: None };
        }
        let count = NonZeroUsize::new(fits).unwrap_or(NonZeroUsize::MIN);
        let note = format!(
            "{count} worker{} instead of {}: no more fit into memory (lower --memory, raise --total-memory or set -j)",
            if count.get() == 1 { "" } else { "s" },
            self.cpus
        );
        Workers { count, note: Some(note) }
    }

    /// The number of workers the user asked for, with a warning if memory may
    /// not suffice for them.
    #[must_use]
    pub fn explicit(&self, count: NonZeroUsize, total: Option<u64>, memory: u64) -> Workers {
        let fits = fitting(total.or_else(|| self.budget()), memory).max(1);
        let note = (count.get() > fits).then(|| {
            format!("{count} workers may need more memory than there is; {fits} would fit (lower --memory or -j)")
        });
        Workers { count, note }
    }
}

/// Lets this process open as many files as its hard limit allows: each worker
/// takes a few descriptors.
pub fn open_all_files() {
    let had = getrlimit(Resource::Nofile);
    // Where it fails, fewer workers have to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: had.maximum, ..had });
}

fn fitting(total: Option<u64>, memory: u64) -> usize {
    let Some(total) = total else { return usize::MAX };
    let each = memory.saturating_add(OVERHEAD);
    usize::try_from(total.saturating_sub(HOST) / each).unwrap_or(usize::MAX)
}

/// All memory, from `/proc/meminfo`.
fn total(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// One control group that applies to this process.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    fn number(&self, file: &str) -> Option<u64> {
        std::fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }

    /// Whole processors by quota, at least one.
    fn cpus(&self) -> Option<usize> {
        let (quota, period) = match self.version {
            Version::Two => {
                let text = std::fs::read_to_string(self.folder.join("cpu.max")).ok()?;
                let mut words = text.split_whitespace();
                (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
            }
            // A quota of -1 is none, and no number for us.
            Version::One => (self.number("cpu.cfs_quota_us")?, self.number("cpu.cfs_period_us")?),
        };
        let whole: u64 = u64::checked_div(quota, period)?;
        usize::try_from(whole.max(1)).ok()
    }

    fn memory(&self) -> Option<u64> {
        match self.version {
            Version::Two => self.number("memory.max"),
            Version::One => self.number("memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED),
        }
    }
}

/// Our groups and all groups above them, of both versions.
fn groups(root: &Path) -> Vec<Group> {
    let read = |file: &str| std::fs::read_to_string(root.join("proc/self").join(file)).unwrap_or_default();
    let (memberships, mounts) = (read("cgroup"), read("mountinfo"));
    let mut found = Vec::new();
    for line in mounts.lines() {
        let Some(mount) = Mount::parse(line) else { continue };
        let Some(member) = memberships.lines().find_map(|line| mount.member(line)) else { continue };
        let top = root.join(mount.point.trim_start_matches('/'));
        // Inside a container the membership may name a path of the outside,
        // of which only the mount's own root can be seen.
        let below = member.strip_prefix(mount.root).unwrap_or("").trim_start_matches('/');
        let bottom = if below.split('/').any(|part| part == "..") { top.clone() } else { top.join(below) };
        let inside = bottom.ancestors().take_while(|folder| folder.starts_with(&top));
        found.extend(inside.map(|folder| Group { folder: folder.to_owned(), version: mount.version }));
    }
    found
}

/// A mounted control-group hierarchy.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    version: Version,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads a line of `/proc/self/mountinfo`.
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup2" => Version::Two,
            "cgroup" => Version::One,
            _ => return None,
        };
        let options = right.nth(1)?;
        // Only a v1 hierarchy names its controllers.
        let useful = version == Version::Two || options.split(',').any(|option| option == "cpu" || option == "memory");
        useful.then_some(Self { root: root.trim_end_matches('/'), point, version, options })
    }

    /// The path in this hierarchy that a line of `/proc/self/cgroup` names.
    fn member<'b>(&self, line: &'b str) -> Option<&'b str> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = match self.version {
            Version::Two => controllers.is_empty(),
            Version::One => {
                !controllers.is_empty()
                    && controllers.split(',').all(|name| self.options.split(',').any(|option| option == name))
            }
        };
        ours.then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GIB;

    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new(files: &[(&str, &str)]) -> Self {
            let fake = Self(tempfile::tempdir().unwrap());
            for (path, text) in files {
                let path = fake.0.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            fake
        }

        fn read(&self, affinity: usize) -> Machine {
            Machine::read(self.0.path(), affinity)
        }
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n");
    const V2: (&str, &str) =
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");

    fn machine(cpus: usize, memory: u64) -> Machine {
        Machine { cpus: NonZeroUsize::new(cpus).unwrap(), memory: Some(memory) }
    }

    #[test]
    fn without_groups_affinity_and_ram_decide() {
        assert_eq!(Fake::new(&[MEMINFO]).read(6), machine(6, 8 * GIB));
        assert_eq!(Fake::new(&[]).read(3), Machine { cpus: NonZeroUsize::new(3).unwrap(), memory: None });
    }

    #[test]
    fn the_smallest_limit_up_the_tree_counts_in_version_two() {
        let fake = Fake::new(&[
            MEMINFO,
            V2,
            ("proc/self/cgroup", "0::/user/job\n"),
            ("sys/fs/cgroup/user/job/memory.max", "max\n"),
            ("sys/fs/cgroup/user/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/user/job/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/user/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(fake.read(8), machine(2, GIB));
        assert_eq!(fake.read(1).cpus.get(), 1);
    }

    #[test]
    fn less_than_one_processor_is_one() {
        let fake = Fake::new(&[V2, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "10000 100000\n")]);
        assert_eq!(fake.read(8).cpus.get(), 1);
    }

    #[test]
    fn version_one_is_read_by_controller() {
        let fake = Fake::new(&[
            MEMINFO,
            (
                "proc/self/mountinfo",
                "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 33 24 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
            ),
            ("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/x\n0::/\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(fake.read(8), machine(3, 512 * MIB));
    }

    #[test]
    fn a_membership_outside_the_container_falls_back_to_the_mount() {
        let fake = Fake::new(&[
            MEMINFO,
            ("proc/self/mountinfo", "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("proc/self/cgroup", "0::/docker/abc\n"),
            ("sys/fs/cgroup/memory.max", "268435456\n"),
        ]);
        assert_eq!(fake.read(1).memory, Some(256 * MIB));
        let escaped =
            Fake::new(&[V2, ("proc/self/cgroup", "0::/../../etc\n"), ("sys/fs/cgroup/memory.max", "268435456\n")]);
        assert_eq!(escaped.read(1).memory, Some(256 * MIB));
    }

    #[test]
    fn memory_decides_the_workers_and_says_so() {
        let roomy = machine(4, 64 * GIB).workers(None, 512 * MIB);
        assert_eq!((roomy.count.get(), roomy.note), (4, None));
        let tight = machine(8, 2 * GIB).workers(None, 512 * MIB);
        assert_eq!(tight.count.get(), 3);
        assert!(tight.note.unwrap().contains("3 workers instead of 8"));
        assert_eq!(machine(8, GIB / 8).workers(None, 512 * MIB).count.get(), 1);
        assert_eq!(machine(8, 64 * GIB).workers(Some(2 * GIB), 512 * MIB).count.get(), 3);
    }

    #[test]
    fn an_explicit_excess_is_kept_with_a_warning() {
        let many = NonZeroUsize::new(40).unwrap();
        let asked = machine(8, 2 * GIB).explicit(many, None, 512 * MIB);
        assert_eq!(asked.count, many);
        assert!(asked.note.unwrap().contains("3 would fit"));
        assert_eq!(machine(8, 64 * GIB).explicit(many, None, 512 * MIB).note, None);
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let machine = Machine::detect();
        assert!(machine.memory.is_some_and(|memory| memory > 64 * MIB), "{machine:?}");
    }
}
