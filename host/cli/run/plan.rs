//! What a run's options come to: where items come from, what is called and
//! how, how many workers, where results go. Conflicts between options that
//! clap cannot see are found here.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::listen::{self, Gate};
use super::patterns::Known;
use super::places;
use crate::capabilities::Capabilities;
use crate::cli::args::RunArgs;
use crate::cli::args::io::Mode;
use crate::cli::input::{self, ExtraColumns, Format, InputStatus, Reader, Source};
use crate::cli::journal::{Journal, Resume, Run, Sensitive};
use crate::cli::output::{Failed, OnFailure, Options, OutFormat, RunNames, Target as OutTarget};
use crate::describe::{Description, Function};
use crate::error::Error;
use crate::escape;
use crate::limits::{Isolation, Limits, SandboxMode};
use crate::outcome::Tag;
use crate::placeholder::Template;
use crate::pool;
use crate::pool::initialise::Initialisation;
use crate::pool::item::{Body, Item};
use crate::pool::listen::Acceptor;
use crate::pool::module::Module;
use crate::pool::resources::{Machine, Workers};
use crate::pool::target::{Choice, choose};
use crate::pool::{Chunksize, PoolOptions, Rest};
use crate::value::ty::{Field, Ty};
use crate::wire::message::{Abi, Encode, Initializer, ItemForm, ResultAs, Target, TaskSpec};

/// Options that were understood.
#[derive(Debug)]
pub struct Plan<'a> {
    args: &'a RunArgs,
    mode: Mode,
    source: &'a str,
    /// Limits of one task.
    pub limits: Limits,
    /// Grants of every task.
    pub capabilities: Capabilities,
    /// What is called before any task.
    pub initialisation: Option<Initialisation>,
    out: OutTarget,
}

impl<'a> Plan<'a> {
    /// Finds out what is wanted.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn new(args: &'a RunArgs) -> Result<Self, Error> {
        let Some((mode, source)) = args.mode.chosen() else {
            return Err(Error::Usage(
                "one of --map, --imap, --imap-unordered, --starmap, --apply or --listen is needed".to_owned(),
            ));
        };
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        let records = matches!(args.output.output, None | Some(OutFormat::Records));
        if mode == Mode::ImapUnordered && !records {
            return usage("--imap-unordered writes records; values without their index have no order (use --imap)");
        }
        if mode == Mode::Listen {
            listen::check(args)?;
            if !records {
                return usage("--listen writes records: which connections ended, and how");
            }
        }
        let out = args.output.out.as_deref().map_or(OutTarget::Stdout, OutTarget::parse);
        if out == OutTarget::File(PathBuf::new()) {
            return usage("-o: the file's name is empty (- is standard output)");
        }
        if matches!(out, OutTarget::Pattern(_)) && !records {
            return usage("-o with placeholders writes records to standard output; --output cannot change that");
        }
        if matches!(args.function.result, Some(ResultAs::File(_))) && args.capabilities.scratch.is_none() {
            return usage("--result file: needs --scratch, where the command can write the file");
        }
        let mut capabilities = args.capabilities.capabilities()?;
        capabilities.connections = mode == Mode::Listen;
        places::check(&out, &args.output, &capabilities.writable())?;
        let limits = args.engine.complete(args.limits.limits());
        let initialisation = args.initializer.initialisation(&limits, &capabilities, args.function.stub_imports);
        Ok(Self { args, mode, source, limits, capabilities, initialisation, out })
    }

    /// Opens the input. A JSON file's syntax is checked as a whole.
    ///
    /// # Errors
    /// As [`input::open`]; [`Error::Usage`] when `--apply` is no JSON.
    pub fn open(&self) -> Result<Items, Error> {
        if self.mode == Mode::Apply {
            serde_json::from_str::<serde::de::IgnoredAny>(self.source).map_err(|error| {
                Error::Usage(format!("--apply: no JSON: {error} (a string needs quotes: --apply '\"text\"')"))
            })?;
            let bytes = Bytes::copy_from_slice(self.source.trim().as_bytes());
            let body = Body { bytes, form: ItemForm::Json, path: None, connection: None };
            let id = self.args.input.id.as_ref().and_then(|field| input::scalar(&body.bytes, field));
            let item = self.keeps_items().then(|| body.bytes.clone());
            let tag = Tag { id, item, ..Tag::default() };
            let tag = (tag != Tag::default()).then(|| Box::new(tag));
            return Ok(Items::One(Some(Item { index: 0, body: Ok(body), tag })));
        }
        if self.mode == Mode::Listen {
            // What runs nothing keeps nobody waiting.
            let dry = self.args.output.dry_run;
            return if dry { Ok(Items::One(None)) } else { Acceptor::bind(self.source).map(Items::Clients) };
        }
        let options = &self.args.input;
        let output = &self.args.output;
        let records = self.out_format(None) == OutFormat::Records
            || self.out.needs_names()
            || output.failed.is_some()
            || output.journal.is_some();
        let reader = input::open(&Source {
            src: self.source.to_owned(),
            format: options.input,
            nul: options.null,
            delimiter: options.delimiter,
            no_header: options.no_header,
            only: options.only.clone(),
            id_field: options.id.clone(),
            keep_item: self.keeps_items(),
            // The form of the results follows from the input's.
            decide: matches!(self.mode, Mode::Map | Mode::Starmap) && self.args.output.output.is_none(),
            name_lines: records,
            max_item: self.limits.max_item,
            writable: self.capabilities.writable(),
        })?;
        Ok(Items::Many(Box::new(reader), Arc::default()))
    }

    fn keeps_items(&self) -> bool {
        self.out.needs_item() || self.args.output.failed.is_some()
    }

    /// Opens the journal, where there is to be one.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn journal(&self, module: &Module, spec: &TaskSpec) -> Result<Option<Journal>, Error> {
        let output = &self.args.output;
        let Some(path) = &output.journal else { return Ok(None) };
        let argv = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let run = Run::new(argv, module.sha256()?, shown(spec), spec);
        Journal::open(path, output.resume.map(Resume::from), &run).map(Some)
    }

    /// What tasks see of items beside their content.
    #[must_use]
    pub fn sensitive(&self) -> Sensitive {
        let by_argument = self.args.guest.iter().any(|text| Template::parse(text).uses_index());
        Sensitive { to_index: by_argument || self.capabilities.deterministic.is_some() }
    }

    /// Opens the file of failures, where there is to be one.
    ///
    /// # Errors
    /// As [`Failed::open`].
    pub fn failed(&self, items: &Items, module: &Module, spec: &TaskSpec) -> Result<Option<Failed>, Error> {
        let Some(path) = &self.args.output.failed else { return Ok(None) };
        let form = match items {
            Items::One(_) => ItemForm::Json,
            Items::Clients(_) => ItemForm::Raw,
            Items::Many(reader, _) => reader.form(),
        };
        Failed::open(path, names(module, spec), form).map(Some)
    }

    /// Chooses the function; not the initializer, unless that is named.
    ///
    /// # Errors
    /// [`Error::Module`]; [`Error::Usage`] for arguments that it cannot take.
    pub fn target(&self, description: &Description, initializer: Option<&Initializer>) -> Result<Target, Error> {
        let function = &self.args.function;
        let rest = initializer.map(|initializer| Initialisation::without(description, initializer));
        let target = choose(
            rest.as_ref().unwrap_or(description),
            &Choice {
                invoke: function.invoke.as_deref(),
                abi: if self.mode == Mode::Listen { function.abi.0.or(Some(Abi::Command)) } else { function.abi.0 },
                spread: self.mode.spread(),
                with: &function.with,
                stub_imports: function.stub_imports,
                memory: self.limits.memory,
            },
        )?;
        if target.abi != Abi::Command && self.mode == Mode::Listen {
            return Err(Error::Usage("--listen serves commands; a function has no standard streams".to_owned()));
        }
        if target.abi != Abi::Command && !self.args.guest.is_empty() {
            return Err(Error::Usage("arguments after -- are for commands; this function takes items only".to_owned()));
        }
        if let Some(initialisation) = &self.initialisation {
            initialisation.check(self.args.pool.isolation, std::slice::from_ref(&target))?;
        }
        Ok(target)
    }

    /// The call that a snapshot is to be taken after; a dry run takes none.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Initialisation> {
        let taken = self.args.pool.isolation != Isolation::Reuse && !self.args.output.dry_run;
        self.initialisation.as_ref().filter(|_| taken)
    }

    /// Chooses the initializer.
    ///
    /// # Errors
    /// As [`Initialisation::choose`].
    pub fn initializer(&self, description: &Description) -> Result<Option<Initializer>, Error> {
        self.initialisation.as_ref().map(|initialisation| initialisation.choose(description)).transpose()
    }

    /// Refuses placeholders that nothing will ever be put in for.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the placeholder.
    pub fn check_placeholders(&self, items: &Items, description: &Description, target: &Target) -> Result<(), Error> {
        let has_header = matches!(items, Items::Many(reader, _) if reader.headers().is_some());
        let function = called(description, target);
        let left = self.left(function).len();
        let known = Known::of(items.format(), has_header, self.args.input.id.is_some());
        let known = known.called(self.mode, target.abi, function, left);
        if let OutTarget::Pattern(template) = &self.out {
            known.check("-o", template)?;
        }
        self.args.guest.iter().try_for_each(|text| known.check("arguments after --", &Template::parse(text)))
    }

    /// The parameters that items fill.
    fn left(&self, function: Option<&Function>) -> Vec<Field> {
        let with = &self.args.function.with;
        let params = function.into_iter().flat_map(|function| &function.ty.params);
        params.filter(|param| with.iter().all(|(name, _)| *name != param.name)).cloned().collect()
    }

    /// Compares a table's header with the fields of the parameter.
    ///
    /// # Errors
    /// [`Error::Input`] naming the column.
    pub fn check_columns(&self, items: &Items, description: &Description, target: &Target) -> Result<(), Error> {
        let Items::Many(reader, _) = items else { return Ok(()) };
        let found = called(description, target);
        let (Some(headers), Some(function), Abi::Component | Abi::Core) = (reader.headers(), found, target.abi) else {
            return Ok(());
        };
        let left = self.left(Some(function));
        let fields = match (self.mode, left.as_slice()) {
            (Mode::Starmap, params) => params,
            (_, [Field { ty: Ty::Record(fields), .. }]) => fields,
            (_, [field]) if headers.len() != 1 => {
                return Err(Error::Input(format!(
                    "the table has {} columns, the parameter ({field}) takes one; --starmap spreads columns",
                    headers.len()
                )));
            }
            _ => return Ok(()),
        };
        input::check_columns(headers, fields, self.args.input.extra_fields)
    }

    /// How many workers.
    #[must_use]
    pub fn workers(&self) -> Workers {
        let (machine, total) = (Machine::detect(), self.args.limits.total_memory.0);
        match self.args.pool.processes {
            Some(count) => machine.explicit(count, total, self.limits.memory),
            None => machine.workers(total, self.limits.memory),
        }
    }

    /// How tasks are called.
    #[must_use]
    pub fn spec(&self, module: &Module, target: Target, initializer: Option<Initializer>) -> TaskSpec {
        let function = &self.args.function;
        let exact = Options { target: self.out.clone(), ..Options::new(self.out_format(None)) }.requires_exact();
        TaskSpec {
            limits: self.limits.clone(),
            capabilities: self.capabilities.clone(),
            isolation: self.args.pool.isolation,
            features: self.args.engine.features(),
            stub_imports: function.stub_imports,
            targets: vec![target],
            spread: self.mode.spread(),
            with: function.with.clone(),
            argv: self.args.guest.clone(),
            program: module.name().to_owned(),
            item_as: function.item_as,
            result: function.result.clone(),
            bytes: function.bytes,
            encode: if exact { Encode::Exact } else { Encode::Json },
            extra_fields_ignored: self.args.input.extra_fields == ExtraColumns::Ignore,
            initializer,
        }
    }

    /// How hard the lock-down is insisted on, in words.
    #[must_use]
    pub fn sandbox(&self) -> &'static str {
        match self.args.engine.sandbox() {
            SandboxMode::Enforce => "enforce",
            SandboxMode::BestEffort => "best-effort",
            SandboxMode::Off => "off",
        }
    }

    /// How the pool is run.
    #[must_use]
    pub fn pool(&self, processes: NonZeroUsize) -> PoolOptions {
        let pool = &self.args.pool;
        PoolOptions {
            processes,
            max_tasks_per_child: pool.max_tasks_per_child,
            sandbox: self.args.engine.sandbox(),
            retries: pool.retries,
            retry_on: pool.retry_on.clone(),
            backoff: pool.backoff,
            ..PoolOptions::default()
        }
    }

    /// Where outcomes go.
    #[must_use]
    pub fn output(&self, items: &Items, module: &Module, spec: &TaskSpec) -> Options {
        let format = items.format();
        Options {
            format: self.out_format(format),
            target: self.out.clone(),
            // A call that failed has no value to print.
            on_failure: if self.mode == Mode::Apply { OnFailure::Omit } else { self.args.output.on_failure },
            // The run that is taken up may have written them.
            overwrite: self.args.output.overwrite || self.args.output.resume.is_some(),
            flush_idle: self.mode.streams(),
            names: names(module, spec),
            item_form: match format {
                Some(Format::Lines | Format::Files) => ItemForm::Raw,
                Some(Format::Csv) => ItemForm::Cells,
                Some(Format::Json | Format::Jsonl | Format::Records) | None => ItemForm::Json,
            },
        }
    }

    /// The output's format; `input` decides where nothing was asked for.
    fn out_format(&self, input: Option<Format>) -> OutFormat {
        if let Some(format) = self.args.output.output {
            return format;
        }
        match (self.mode, input) {
            (Mode::ImapUnordered | Mode::Listen, _) => OutFormat::Records,
            (Mode::Map | Mode::Starmap, Some(Format::Json)) => OutFormat::Json,
            _ => OutFormat::Jsonl,
        }
    }

    /// Whether outcomes come in the order of the input.
    #[must_use]
    pub fn ordered(&self) -> bool {
        !matches!(self.mode, Mode::ImapUnordered | Mode::Listen)
    }

    /// How many items may be pulled and not delivered.
    #[must_use]
    pub fn window(&self, workers: NonZeroUsize) -> Option<NonZeroUsize> {
        let asked = self.args.pool.window;
        if self.mode == Mode::Listen { Some(pool::listen::window(asked, workers)) } else { asked }
    }

    /// How items travel: alone where each is wanted as soon as it is read.
    #[must_use]
    pub fn chunksize(&self) -> Chunksize {
        match self.args.pool.chunksize.0 {
            Some(items) => Chunksize::Fixed(items),
            None if self.mode.streams() => Chunksize::Fixed(NonZeroUsize::MIN),
            None => Chunksize::Auto,
        }
    }

    /// What becomes of unread items when the run ends early: those of a file
    /// are counted as cancelled, those of a stream may never come.
    #[must_use]
    pub fn rest(&self, items: &Items) -> Rest {
        let ends_early = self.args.pool.fail_fast || self.args.limits.deadline.is_some();
        if ends_early && (items.len_hint().is_some() || self.is_file()) { Rest::Cancel } else { Rest::Leave }
    }

    fn is_file(&self) -> bool {
        std::fs::metadata(self.source).is_ok_and(|meta| meta.is_file())
    }
}

/// The description of what is called; a program has none.
fn called<'d>(description: &'d Description, target: &Target) -> Option<&'d Function> {
    let is_it = |function: &&Function| function.name == target.name && function.interface == target.interface;
    description.functions.iter().find(is_it)
}

/// What is called, `iface/name` or `name`; escaped, because guests name it.
#[must_use]
pub fn shown(spec: &TaskSpec) -> String {
    let name = match spec.targets.as_slice() {
        [Target { interface: Some(interface), name, .. }, ..] => format!("{interface}/{name}"),
        [Target { name, .. }, ..] => name.clone(),
        [] => String::new(),
    };
    escape::name(&name)
}

/// What records call the module and the function.
#[must_use]
pub fn names(module: &Module, spec: &TaskSpec) -> RunNames {
    RunNames { module: module.name().to_owned(), function: shown(spec) }
}

/// The items of a run.
#[derive(Debug)]
pub enum Items {
    /// Of `--apply`.
    One(Option<Item>),
    /// Of a source, until the gate is shut.
    Many(Box<Reader>, Arc<AtomicBool>),
    /// Of `--listen`.
    Clients(Acceptor),
}

impl Items {
    /// How many there will be, where that is known.
    #[must_use]
    pub fn len_hint(&self) -> Option<u64> {
        match self {
            Self::One(item) => Some(u64::from(item.is_some())),
            Self::Many(reader, _) => reader.len_hint(),
            Self::Clients(_) => None,
        }
    }

    fn format(&self) -> Option<Format> {
        match self {
            Self::One(_) => None,
            Self::Many(reader, _) => reader.format(),
            // An address is taken as it is.
            Self::Clients(_) => Some(Format::Lines),
        }
    }

    /// What is known of the source, also after the items are handed on.
    #[must_use]
    pub fn status(&self) -> Option<Arc<InputStatus>> {
        match self {
            Self::One(_) | Self::Clients(_) => None,
            Self::Many(reader, _) => Some(reader.status()),
        }
    }

    /// Ends the items.
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self {
            Self::One(_) => Gate::Flag(Arc::default()),
            Self::Many(_, gate) => Gate::Flag(Arc::clone(gate)),
            Self::Clients(acceptor) => Gate::Clients(acceptor.stopper()),
        }
    }
}

impl Iterator for Items {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        match self {
            Self::One(item) => item.take(),
            Self::Many(reader, gate) => {
                if gate.load(Ordering::Relaxed) {
                    return None;
                }
                reader.next()
            }
            Self::Clients(acceptor) => acceptor.next(),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
