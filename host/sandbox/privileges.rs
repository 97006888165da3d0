//! Capabilities taken away, `no_new_privs`, and nobody looking in.

use std::io;

use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What a superuser's worker keeps where directories are granted: reading and
/// writing them as the superuser would. Its root holds nothing else.
pub const GRANTED_TO_SUPERUSER: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// Whether files open to this process whatever their permissions say.
#[must_use]
pub fn superuser() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(GRANTED_TO_SUPERUSER))
}

/// Drops all capabilities but `kept`, for this thread and those it starts, and
/// for whatever they could execute.
///
/// # Errors
/// When `kept` is more than there is.
pub fn drop_capabilities(kept: CapabilitySet) -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel.
            Ok(()) | Err(Errno::INVAL) => {}
            // Without the privilege to do so nothing can be gained either,
            // once `no_new_privs` is set.
            Err(_) => break,
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(Into::into)
}

/// Nothing that is executed from here on gains privileges.
///
/// # Errors
/// On kernels without it.
pub fn set_no_new_privs() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(Into::into)
}

/// Other processes of the same user cannot trace this one or read its memory.
///
/// # Errors
/// None in practice.
pub fn hide() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Into::into)
}
