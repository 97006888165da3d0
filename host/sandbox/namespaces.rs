//! Namespaces of the worker's own, as far as the kernel gives them.
//!
//! There is no pid namespace: the worker could start no threads after asking
//! for one.

use std::io;

use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::raw;
use crate::layer::Layer;

/// The namespaces beside the user's.
const OTHERS: [(Layer, UnshareFlags); 4] = [
    (Layer::MountNamespace, UnshareFlags::NEWNS),
    (Layer::NetworkNamespace, UnshareFlags::NEWNET),
    (Layer::IpcNamespace, UnshareFlags::NEWIPC),
    (Layer::UtsNamespace, UnshareFlags::NEWUTS),
];

/// Moves the process, which must have one thread only, into namespaces of its
/// own, and tells which it got.
///
/// Without `user` it stays in its user namespace: a superuser's worker that
/// was granted directories reads them with the superuser's rights. Without
/// `net` it stays in its network namespace: that is where granted addresses are.
pub fn enter(user: bool, net: bool) -> Vec<(Layer, io::Result<()>)> {
    let mut steps = Vec::with_capacity(1 + OTHERS.len());
    let user = if user { own_user() } else { Err(io::Error::other("directories are granted to a superuser")) };
    steps.push((Layer::UserNamespace, user));
    for (layer, flag) in OTHERS {
        if layer == Layer::NetworkNamespace && !net {
            steps.push((layer, Err(io::Error::other("addresses are granted"))));
            continue;
        }
        let mut entered = raw::unshare(flag);
        if layer == Layer::MountNamespace {
            entered = entered.and_then(|()| private_mounts());
        }
        steps.push((layer, entered));
    }
    steps
}

/// A user namespace in which user and group are what they are outside.
fn own_user() -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    raw::unshare(UnshareFlags::NEWUSER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Nothing mounted from here on shows outside, or the other way round.
fn private_mounts() -> io::Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(Into::into)
}
