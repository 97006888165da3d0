//! `--dry-run`: what a run would do, without doing it.

use std::fmt::Write as _;

use super::plan::{Plan, shown};
use crate::capabilities::Access;
use crate::cli::units::{show_duration, show_size};
use crate::escape::{name, path};
use crate::limits::{Isolation, TimeoutMode};
use crate::pool::module::Module;
use crate::pool::resources::Workers;
use crate::wire::message::TaskSpec;

/// Effective limits, grants, layers and workers, as lines.
#[must_use]
pub fn text(plan: &Plan<'_>, spec: &TaskSpec, workers: &Workers, layers: &[String], module: &Module) -> String {
    let mut out = String::new();
    let mut row = |label: &str, value: String| {
        let _ = writeln!(out, "{label:>13}  {value}"); // writing to a string cannot fail
    };
    row("module", format!("{} ({})", name(module.name()), show_size(module.size())));
    let abi = spec.targets.first().map_or("", |target| target.abi.as_str());
    row("function", format!("{} ({abi})", shown(spec)));
    if let Some(initializer) = &spec.initializer {
        let how = if spec.initialises() { "in each worker" } else { "once, before all" };
        row("initializer", format!("{} ({}, {how})", name(&initializer.path()), initializer.target.abi.as_str()));
    }
    row("workers", workers.count.to_string());
    row("sandbox", plan.sandbox().to_owned());
    row("layers", name(&layers.join(", ")));
    row(
        "isolation",
        match spec.isolation {
            Isolation::Fresh => "fresh".to_owned(),
            Isolation::Reuse => "reuse".to_owned(),
            Isolation::Process => "process".to_owned(),
        },
    );
    let none = || "none".to_owned();
    let limits = &plan.limits;
    let how = match limits.timeout_mode {
        TimeoutMode::Kill => "kill",
        TimeoutMode::Trap => "trap",
    };
    row("timeout", limits.timeout.map_or_else(none, |time| format!("{} ({how})", show_duration(time))));
    row("cpu timeout", limits.cpu_timeout.map_or_else(none, show_duration));
    row("memory", show_size(limits.memory));
    row("fuel", limits.fuel.map_or_else(none, |fuel| fuel.to_string()));
    row("stack", show_size(limits.stack));
    row("max item", show_size(limits.max_item));
    row("max result", show_size(limits.max_result));
    row("max captured", show_size(limits.max_captured));
    row("max write", show_size(limits.max_write));
    let grants = &plan.capabilities;
    for dir in &grants.dirs {
        let access = match dir.access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        };
        row("dir", format!("{} as {} ({access})", path(&dir.host), name(&dir.guest)));
    }
    if let Some(scratch) = &grants.scratch {
        row("scratch", name(scratch));
    }
    for net in &grants.net {
        let ports = if net.first == net.last { net.first.to_string() } else { format!("{}-{}", net.first, net.last) };
        let addresses: Vec<String> = net.addresses.iter().map(ToString::to_string).collect();
        row("network", format!("{} ({}) port {ports}", name(&net.host), addresses.join(", ")));
    }
    for (key, _) in &grants.env {
        row("env", name(key));
    }
    for grant in &grants.shared {
        row("shared", grant.to_string());
    }
    if let Some(seed) = grants.deterministic {
        row("deterministic", format!("seed {seed}"));
    }
    if grants == &crate::capabilities::Capabilities::none() {
        row("grants", none());
    }
    out
}
