//! Landlock: files other than those granted cannot be opened, whatever the
//! path; no TCP but by granted ports; no signals or abstract sockets to
//! processes outside.
//!
//! It binds the calling thread and those that it starts.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};

use super::{View, granted};
use crate::layer::Layer;

/// Most ports that get a rule each; they cost the kernel memory, and time at
/// every worker's start.
pub const MAX_PORTS: usize = 1024;

/// The newest rules we know; older kernels apply those they know.
const NEWEST: ABI = ABI::V9;

/// Rights of a read-only directory.
fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// Rights of a writable directory: no devices, sockets or pipes are made.
fn writing() -> BitFlags<AccessFs> {
    reading()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

/// Applies landlock and tells which of its layers this kernel has.
pub fn restrict(view: &View) -> Vec<(Layer, io::Result<()>)> {
    let known = match rules(view) {
        Ok(LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi),
        Ok(LandlockStatus::NotEnabled) => Err("landlock is switched off on this system"),
        Ok(LandlockStatus::NotImplemented) => Err("this kernel has no landlock"),
        Err(error) => {
            let text = error.to_string();
            return LAYERS.iter().map(|(layer, _)| (*layer, Err(io::Error::other(text.clone())))).collect();
        }
    };
    let step = |(layer, since): (Layer, ABI)| match known {
        Ok(_) if layer == Layer::LandlockNetwork && view.ports.is_none() => {
            (layer, Err(io::Error::other(format!("more than {MAX_PORTS} ports are granted"))))
        }
        Ok(abi) if abi >= since => (layer, Ok(())),
        Ok(_) => (layer, Err(io::Error::other("this kernel's landlock is too old for it"))),
        Err(why) => (layer, Err(io::Error::other(why))),
    };
    LAYERS.into_iter().map(step).collect()
}

/// Our layers, and the version of landlock that each came with.
const LAYERS: [(Layer, ABI); 3] =
    [(Layer::LandlockFiles, ABI::V1), (Layer::LandlockNetwork, ABI::V4), (Layer::LandlockScopes, ABI::V6)];

fn rules(view: &View) -> Result<LandlockStatus, Box<dyn std::error::Error>> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if view.ports.is_some() {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut created = ruleset.create()?;
    for port in view.ports.iter().flatten() {
        created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp | AccessNet::ConnectTcp))?;
    }
    if view.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
        // Any free one. To listen on what came out is the engine's to refuse.
        created = created.add_rule(NetPort::new(0, AccessNet::BindTcp))?;
    }
    for dir in &view.dirs {
        let rights = if dir.writable { writing() } else { reading() };
        created = created.add_rule(PathBeneath::new(granted::open(&dir.path)?, rights))?;
    }
    Ok(created.restrict_self()?.landlock)
}
