//! `wpool run`, as a table of contents: arguments → module → function → pool
//! → outcomes → output → summary → exit code.

mod drive;
mod dry;
mod listen;
mod notes;
mod patterns;
mod places;
mod plan;

use std::time::Duration;

use serde_json::json;

use self::drive::{Drive, End, Outlets};
use self::notes::Steps;
use self::plan::{Items, Plan};
use super::args::RunArgs;
use super::args::io::StatsFormat;
use super::journal::Journal;
use super::output::{RunNames, Writer};
use super::prepare::{Talk, artifact};
use super::printer::{self, Volume};
use super::signals::Listener;
use super::stats::{Compile, Stats, Workers};
use crate::error::Error;
use crate::escape;
use crate::limits::Isolation;
use crate::pool::Rest;
use crate::pool::compile::Artifact;
use crate::pool::probe;
use crate::pool::resources::open_all_files;
use crate::pool::suspend;
use crate::pool::{MapOptions, Pool, PoolOptions, Work};
use crate::wire::message::TaskSpec;

/// Exit code of a run with failed items.
const FAILED: u8 = 1;

/// Exit code of wrong usage, which leaves no statistics.
const USAGE: u8 = 2;

/// What a run has used and done, whether or not it got far.
struct Run<'a> {
    args: &'a RunArgs,
    talk: Talk,
    /// On the clock of [`suspend::now`].
    started: Duration,
    stats: Stats,
    /// What running tasks say of themselves.
    steps: Steps,
}

/// Runs the command; gives its exit code.
#[must_use]
pub fn run(args: &RunArgs) -> u8 {
    let talk = Talk::new(&args.messages);
    let mut run = Run { args, talk, started: suspend::now(), stats: Stats::new(), steps: Steps::default() };
    let listener = match Listener::start(args.pool.grace) {
        Ok(listener) => Some(listener),
        Err(error) => {
            run.talk.printer.warning(&format!("cannot listen for Ctrl-C: {error}"));
            None
        }
    };
    let result = run.go(listener.as_ref());
    let signalled = listener.as_ref().and_then(Listener::exit_code);
    let (code, error) = match (result, signalled) {
        (Ok(code), None) => (code, None),
        (Ok(_), Some(code)) => (code, None),
        // The wish to stop is why it failed, not a fault to be told.
        (Err(Error::Workers(_)), Some(code)) => (code, None),
        (Err(error), signalled) => {
            let text = error.to_string();
            run.talk.printer.error(&text);
            (signalled.unwrap_or_else(|| error.exit_code()), Some(text))
        }
    };
    run.stats.finish();
    run.report(code, error.as_deref())
}

impl Run<'_> {
    fn go(&mut self, listener: Option<&Listener>) -> Result<u8, Error> {
        let plan = Plan::new(self.args)?;
        open_all_files();
        let items = plan.open()?;
        if let Items::Clients(acceptor) = &items {
            self.talk.printer.note(&format!("listening at {}", escape::name(&acceptor.address())));
        }
        let stop = listener.map(Listener::stop).unwrap_or_default();
        let (module, artifact) = artifact(&self.args.module, &self.args.engine, plan.snapshot(), stop, &self.talk)?;
        self.stats.compile = Some(Compile::from(&artifact));
        let initializer = plan.initializer(&artifact.description)?;
        let target = plan.target(&artifact.description, initializer.as_ref())?;
        plan.check_placeholders(&items, &artifact.description, &target)?;
        plan.check_columns(&items, &artifact.description, &target)?;
        let workers = plan.workers();
        if let Some(note) = &workers.note {
            self.talk.printer.note(note);
        }
        let spec = plan.spec(&module, target, initializer);
        if self.args.output.dry_run {
            // A worker that would call the initializer itself looks at its arguments.
            let isolation = if spec.initializer.is_some() { Isolation::Reuse } else { spec.isolation };
            let probed = TaskSpec { isolation, ..spec.clone() };
            let work = Work { artifact: artifact.file, description: artifact.description, spec: probed };
            let layers = probe::layers(&work, &plan.pool(workers.count))?;
            let text = dry::text(&plan, &spec, &workers, &layers, &module);
            printer::document(text.as_bytes()).map_err(Error::io("cannot write to standard output"))?;
            return Ok(0);
        }
        let plural = if workers.count.get() == 1 { "" } else { "s" };
        self.talk.printer.detail(&format!("calling {} with {} worker{plural}", plan::shown(&spec), workers.count));
        let journal = plan.journal(&module, &spec)?;
        if let Some(done) = journal.as_ref().map(Journal::done).filter(|done| *done > 0) {
            self.talk.printer.note(&format!("{done} items of the journal are done already"));
        }
        let outlets = Outlets {
            writer: Writer::new(plan.output(&items, &module, &spec))?,
            failed: plan.failed(&items, &module, &spec)?,
            journal: journal.as_ref(),
        };
        let names = plan::names(&module, &spec);
        let Artifact { file, description, .. } = artifact;
        if let Some(listener) = listener {
            listener.work();
        }
        let hears = Some(notes::listener(&self.talk.printer, &self.steps));
        let options = PoolOptions { listener: hears, ..plan.pool(workers.count) };
        let pool = Pool::start(Work { artifact: file, description, spec }, options)?;
        let end = self.feed(&plan, (items, names), &pool, outlets, listener);
        if let Some(why) = pool.scarcity() {
            self.talk.printer.warning(&format!("fewer workers than {}: {}", workers.count, escape::name(why)));
        }
        // Ending the pool kills its workers: no deaths to be told.
        let died = pool.stats().workers_died;
        let done = pool.terminate();
        self.stats.workers = Workers {
            started: done.workers_started,
            recycled: done.workers_recycled,
            died,
            retried: done.retried,
            cpu: done.cpu,
        };
        let journalled = journal.map_or(Ok(()), Journal::finish);
        end.and_then(|code| journalled.map(|()| code))
    }

    /// Sends the items through the pool and what comes out to the writer.
    fn feed(
        &mut self,
        plan: &Plan<'_>,
        (items, names): (Items, RunNames),
        pool: &Pool,
        outlets: Outlets<'_>,
        listener: Option<&Listener>,
    ) -> Result<u8, Error> {
        let (total, status) = (items.len_hint(), items.status());
        let (rest, gate) = (plan.rest(&items), items.gate());
        let options = MapOptions {
            ordered: plan.ordered(),
            chunksize: plan.chunksize(),
            window: plan.window(pool.shared().options.processes),
            rest,
            function: 0,
        };
        let outcomes = match outlets.journal {
            None => pool.outcomes(items, options)?,
            Some(journal) => {
                let observer = journal.observer(names);
                pool.observed_outcomes(journal.keyed(items, plan.sensitive()), options, Some(observer))?
            }
        };
        // A module that its workers refuse must not leave a row of nulls.
        pool.wait_ready().map_err(|error| drive::owned(&error))?;
        for missing in pool.missing_layers() {
            let why = escape::name(&missing.why);
            self.talk.printer.detail(&format!("sandbox: no {}: {why}", escape::name(&missing.layer)));
        }
        let drive = Drive {
            run: &mut self.stats,
            talk: &self.talk,
            pool_args: &self.args.pool,
            show: self.args.output.show_output,
            leaves_rest: rest == Rest::Leave,
            deadline: self.args.limits.deadline.and_then(|deadline| self.started.checked_add(deadline)),
            listener,
            gate,
            total,
            steps: self.steps.clone(),
        };
        let end = drive.outcomes(outcomes, outlets, status.as_deref());
        if let Some(status) = &status {
            self.stats.bytes_in = status.bytes_in();
        }
        match end? {
            End::Closed => Ok(0),
            End::Cut => Ok(FAILED),
            End::Done if self.stats.failed() > 0 => Ok(FAILED),
            End::Done => Ok(0),
        }
    }

    /// Tells the summary where it was asked for; gives the exit code, which a
    /// summary that cannot be written changes.
    fn report(&self, code: u8, error: Option<&str>) -> u8 {
        if code == USAGE {
            return code;
        }
        let verbose = self.talk.printer.volume() == Volume::Verbose && !self.args.output.dry_run;
        match self.args.output.stats {
            Some(StatsFormat::Json) => self.talk.printer.lines(&format!("{}\n", json!({"stats": self.stats.json()}))),
            Some(StatsFormat::Text) => self.talk.printer.lines(&self.stats.text()),
            None if verbose => self.talk.printer.lines(&self.stats.text()),
            None => {}
        }
        let Some(path) = &self.args.output.stats_file else { return code };
        let document = json!({"stats": self.stats.json(), "exit": code, "run_error": error});
        match std::fs::write(path, format!("{document}\n")) {
            Ok(()) => code,
            Err(error) => {
                self.talk.printer.error(&format!("cannot write {}: {error}", escape::path(path)));
                if code <= FAILED { 4 } else { code }
            }
        }
    }
}
