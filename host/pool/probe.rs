//! One worker that is started to hear what it is locked in with, and ended
//! before it gets a task.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::error::Error;
use crate::pool::compile::refusal;
use crate::pool::process::Process;
use crate::pool::scratch::ScratchDir;
use crate::pool::{PoolOptions, Work};
use crate::wire::frame::FrameKind;
use crate::wire::message::{Ready, RunSetup, Setup};
use crate::wire::page::Page;

/// How long the worker may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The layers that a worker of such a pool applies on this machine. No guest
/// code runs.
///
/// # Errors
/// [`Error::Module`] when the worker refuses the module; [`Error::Workers`]
/// when it cannot be had.
pub fn layers(work: &Work, options: &PoolOptions) -> Result<Vec<String>, Error> {
    let cannot = |error: std::io::Error| Error::Workers(format!("cannot start a worker: {error}"));
    let (_page, page_file) = Page::create(work.spec.limits.max_captured).map_err(cannot)?;
    let wants_scratch = work.spec.capabilities.scratch.is_some();
    let scratch = wants_scratch.then(ScratchDir::make).transpose().map_err(cannot)?;
    let mut process = Process::spawn(&options.worker).map_err(cannot)?;
    let setup = Setup::Run(Box::new(RunSetup {
        host: rustix::process::getpid().as_raw_nonzero().get(),
        sandbox: options.sandbox,
        slot: 0,
        description: work.description.clone(),
        task: work.spec.clone(),
        scratch: scratch.as_ref().map(|folder| folder.path().to_owned()),
    }));
    process.send(&setup, &[page_file.as_fd(), work.artifact.as_fd()]).map_err(cannot)?;
    match process.receive(PATIENCE).map_err(cannot)? {
        Some((head, payload)) if head.kind == FrameKind::Ready => match serde_json::from_slice::<Ready>(&payload) {
            Ok(ready) => Ok(ready.layers),
            Err(error) => Err(Error::Workers(format!("bad hello of a worker: {error}"))),
        },
        Some((head, payload)) if head.kind == FrameKind::Refused => Err(refusal(&payload)),
        _ => Err(Error::Workers("a worker ended while it started".to_owned())),
    }
}
