//! Options of input, output and the function between them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::heading;
use crate::capabilities::Capabilities;
use crate::cli::input::{ExtraColumns, Format, Only};
use crate::cli::journal::Resume;
use crate::cli::output::{OnFailure, OutFormat, ShowOutput};
use crate::error::Error;
use crate::limits::Limits;
use crate::pool::initialise::Initialisation;
use crate::wire::message::{Abi, BytesAs, ItemAs, ResultAs, Spread};

/// Where items come from and how they reach the function; exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[command(next_help_heading = heading::INPUT)]
pub struct ModeArgs {
    /// Call the function with each item; results in input order
    #[arg(long, value_name = "SRC")]
    pub map: Option<String>,
    /// Like --map, writing each result as soon as it is next
    #[arg(long, value_name = "SRC")]
    pub imap: Option<String>,
    /// Like --imap, in the order in which items finish, as records
    #[arg(long, value_name = "SRC")]
    pub imap_unordered: Option<String>,
    /// Spread each item, an array or object, over the parameters
    #[arg(long, value_name = "SRC")]
    pub starmap: Option<String>,
    /// Call once with this JSON value and print the result
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    pub apply: Option<String>,
    /// Serve connections, each by a run of a command
    ///
    /// It is the command's standard input and output. HOST:PORT (port 0: any, told on standard error) or unix:PATH.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

/// The mode of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `--map`.
    Map,
    /// `--imap`.
    Imap,
    /// `--imap-unordered`.
    ImapUnordered,
    /// `--starmap`.
    Starmap,
    /// `--apply`.
    Apply,
    /// `--listen`.
    Listen,
}

impl Mode {
    /// How its items become arguments.
    #[must_use]
    pub fn spread(self) -> Spread {
        match self {
            Self::Map | Self::Imap | Self::ImapUnordered | Self::Listen => Spread::One,
            Self::Starmap => Spread::Star,
            Self::Apply => Spread::Auto,
        }
    }

    /// Whether each result is written as soon as it can be.
    #[must_use]
    pub fn streams(self) -> bool {
        matches!(self, Self::Imap | Self::ImapUnordered | Self::Listen)
    }
}

impl ModeArgs {
    /// The mode that was given, and its SRC or JSON. Clap has seen to it that
    /// there is exactly one.
    #[must_use]
    pub fn chosen(&self) -> Option<(Mode, &str)> {
        [
            (Mode::Map, &self.map),
            (Mode::Imap, &self.imap),
            (Mode::ImapUnordered, &self.imap_unordered),
            (Mode::Starmap, &self.starmap),
            (Mode::Apply, &self.apply),
            (Mode::Listen, &self.listen),
        ]
        .into_iter()
        .find_map(|(mode, source)| Some((mode, source.as_deref()?)))
    }
}

/// What is called, and how values are read and written.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::FUNCTION)]
pub struct FunctionArgs {
    /// The function: NAME, INTERFACE/NAME or _start
    ///
    /// Without it: the only callable export, else `run`, else `_start`.
    #[arg(long, value_name = "NAME")]
    pub invoke: Option<String>,
    /// How the function takes an item: auto, component, command, core or bytes
    #[arg(long, value_name = "ABI", default_value = "auto", value_parser = abi, hide_short_help = true)]
    pub abi: AbiChoice,
    /// Fix a parameter for all items (repeatable)
    #[arg(long, value_name = "NAME=JSON", value_parser = with)]
    pub with: Vec<(String, String)>,
    /// How JSON items reach commands and byte functions: strings as their
    /// characters, or all as JSON text
    #[arg(long, value_name = "FORM", default_value = "auto", value_parser = item_as, hide_short_help = true)]
    pub item_as: ItemAs,
    /// What a command's output or a byte result is: text, json, bytes or
    /// file:PATH
    #[arg(long, value_name = "FORM", value_parser = result_as, hide_short_help = true)]
    pub result: Option<ResultAs>,
    /// How lists of bytes (list of u8) are written: array, base64 or utf8
    #[arg(long, value_name = "FORM", default_value = "array", value_parser = bytes_as, hide_short_help = true)]
    pub bytes: BytesAs,
    /// Make unknown imported functions trap when called
    #[arg(long, hide_short_help = true)]
    pub stub_imports: bool,
}

/// What is called before any item.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = heading::FUNCTION)]
pub struct InitializerArgs {
    /// Call FUNC before any item; items find what it left in memory
    ///
    /// JSON is its argument, or an array of several. It is called once for the run, and every item starts from a
    /// snapshot of the module; under --isolation reuse it is called once in each worker. It has the limits and grants of
    /// an item. If it fails nothing runs.
    #[arg(long, value_name = "FUNC[=JSON]", value_parser = initializer, hide_short_help = true)]
    pub initializer: Option<FunctionCall>,
}

/// `--initializer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCall {
    /// The function.
    pub function: String,
    /// Its arguments as JSON text.
    pub args: Option<String>,
}

impl InitializerArgs {
    /// What is to be called, under these limits and grants.
    #[must_use]
    pub fn initialisation(
        &self,
        limits: &Limits,
        capabilities: &Capabilities,
        stub_imports: bool,
    ) -> Option<Initialisation> {
        let FunctionCall { function, args } = self.initializer.clone()?;
        let (limits, capabilities) = (limits.clone(), capabilities.clone());
        Some(Initialisation { function, args, limits, capabilities, stub_imports })
    }
}

fn initializer(text: &str) -> Result<FunctionCall, String> {
    let (function, json) = text.split_once('=').map_or((text, None), |(name, json)| (name, Some(json)));
    if function.is_empty() {
        return Err("the function's name is missing; expected FUNC or FUNC=JSON".to_owned());
    }
    if let Some(json) = json {
        serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|error| {
            format!("the arguments of {function} are no JSON: {error} (a string needs quotes: {function}='\"text\"')")
        })?;
    }
    Ok(FunctionCall { function: function.to_owned(), args: json.map(|json| json.trim().to_owned()) })
}

/// `--abi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbiChoice(pub Option<Abi>);

fn abi(text: &str) -> Result<AbiChoice, String> {
    Ok(AbiChoice(match text {
        "auto" => None,
        "component" => Some(Abi::Component),
        "command" => Some(Abi::Command),
        "core" => Some(Abi::Core),
        "bytes" => Some(Abi::Bytes),
        _ => return Err("expected auto, component, command, core or bytes".to_owned()),
    }))
}

fn with(text: &str) -> Result<(String, String), String> {
    let (name, json) = text.split_once('=').ok_or("expected NAME=JSON, such as factor=2")?;
    if name.is_empty() {
        return Err("the name before = is missing".to_owned());
    }
    serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|error| {
        format!("the value of {name} is no JSON: {error} (a string needs quotes: {name}='\"text\"')")
    })?;
    Ok((name.to_owned(), json.to_owned()))
}

fn item_as(text: &str) -> Result<ItemAs, String> {
    match text {
        "auto" => Ok(ItemAs::Auto),
        "json" => Ok(ItemAs::Json),
        _ => Err("expected auto or json".to_owned()),
    }
}

fn result_as(text: &str) -> Result<ResultAs, String> {
    match text {
        "text" => Ok(ResultAs::Text),
        "json" => Ok(ResultAs::Json),
        "bytes" => Ok(ResultAs::Bytes),
        _ => match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(ResultAs::File(path.to_owned())),
            _ => Err("expected text, json, bytes or file:PATH".to_owned()),
        },
    }
}

fn bytes_as(text: &str) -> Result<BytesAs, String> {
    match text {
        "array" => Ok(BytesAs::Array),
        "base64" => Ok(BytesAs::Base64),
        "utf8" => Ok(BytesAs::Utf8),
        _ => Err("expected array, base64 or utf8".to_owned()),
    }
}

/// How input is read.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::INPUT)]
pub struct InputArgs {
    /// Format of SRC: json, jsonl, lines, csv or files
    ///
    /// The default is by SRC's extension, for - by its first byte.
    #[arg(long, value_name = "FORMAT", value_parser = parsed::<Format>)]
    pub input: Option<Format>,
    /// The csv input has no header row; items are arrays
    #[arg(long, hide_short_help = true)]
    pub no_header: bool,
    /// Character between csv cells; a comma, or a tab for .tsv
    #[arg(long, value_name = "CHAR", value_parser = delimiter, hide_short_help = true)]
    pub delimiter: Option<u8>,
    /// What to do with csv columns that the parameter has no field for
    #[arg(long, value_name = "WHAT", default_value = "refuse", value_parser = extra_fields, hide_short_help = true)]
    pub extra_fields: ExtraColumns,
    /// Paths in the list of --input files end in NUL, not newline
    #[arg(short = '0', long, hide_short_help = true)]
    pub null: bool,
    /// Copy this field of the item into the record's id
    #[arg(long, value_name = "FIELD", hide_short_help = true)]
    pub id: Option<String>,
    /// Run only these items, such as 48213,7-9
    #[arg(long, value_name = "LIST", value_parser = parsed::<Only>, hide_short_help = true)]
    pub only: Option<Only>,
}

/// Parses what says itself what is wrong.
fn parsed<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

fn extra_fields(text: &str) -> Result<ExtraColumns, String> {
    match text {
        "refuse" => Ok(ExtraColumns::Refuse),
        "ignore" => Ok(ExtraColumns::Ignore),
        _ => Err("expected refuse or ignore".to_owned()),
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [b'"' | b'\n' | b'\r'] => Err("a quote or line end cannot divide cells".to_owned()),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err("expected one ASCII character, or \\t".to_owned()),
    }
}

/// How results are written.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::INPUT)]
pub struct OutputArgs {
    /// Format of results: json, jsonl, records, lines or raw
    ///
    /// The default is json for --map and --starmap of JSON arrays, records for --imap-unordered, else jsonl.
    #[arg(long, value_name = "FORMAT", conflicts_with = "apply", value_parser = parsed::<OutFormat>)]
    pub output: Option<OutFormat>,
    /// Write to FILE; with {index} or another placeholder, a file an item
    ///
    /// Placeholders are {} (the item), {index}, {id}, {1} {2} … (elements of a --starmap item) and, for files,
    /// {name}, {stem} and {path}.
    #[arg(short, value_name = "FILE", long = "output-file")]
    pub out: Option<String>,
    /// Let -o replace the files of items that exist
    #[arg(long, requires = "out", hide_short_help = true)]
    pub overwrite: bool,
    /// Write failed items to FILE; --input records runs them again
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub failed: Option<PathBuf>,
    /// Write every outcome to FILE at once; --resume goes on from there
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Go on with the run of --journal: what is ok there is not run again
    ///
    /// The output is that of one undisturbed run. Limits, -j and the output may change; a module that has changed
    /// needs --resume=any-module.
    #[arg(
        long,
        value_name = "WHICH",
        requires = "journal",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "same-module",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub resume: Option<ResumeArg>,
    /// What json and jsonl have for a failed item: null, or nothing
    #[arg(long, value_name = "WHAT", default_value = "null", value_parser = parsed::<OnFailure>, hide_short_help = true)]
    pub on_failure: OnFailure,
    /// Whose printed output to show under messages: failed, all or never
    #[arg(
        long,
        value_name = "WHOSE", default_value = "failed", value_parser = parsed::<ShowOutput>,
        env = "WPOOL_SHOW_OUTPUT",
        hide_env = true,
        hide_short_help = true
    )]
    pub show_output: ShowOutput,
    /// Print a summary on standard error, as text or json
    #[arg(long, value_name = "FORM", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub stats: Option<StatsFormat>,
    /// Write the summary as JSON to FILE, however the run ends
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub stats_file: Option<PathBuf>,
    /// Show effective limits, grants, layers and workers; run nothing
    #[arg(long, hide_short_help = true)]
    pub dry_run: bool,
}

/// `--resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResumeArg {
    /// Only if the module is the same.
    SameModule,
    /// Whatever became of the module.
    AnyModule,
}

impl From<ResumeArg> for Resume {
    fn from(arg: ResumeArg) -> Self {
        match arg {
            ResumeArg::SameModule => Self::SameModule,
            ResumeArg::AnyModule => Self::AnyModule,
        }
    }
}

/// `--stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    /// Lines for people.
    Text,
    /// One line of JSON.
    Json,
}
