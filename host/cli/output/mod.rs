//! Outcomes on their way out: values or records on one stream, a file an
//! item, and lines about failures.
//!
//! Used by the commands that run a pool; knows no pool itself. Order is the
//! caller's: what is written first stands first.

mod failed;
mod failures;
mod files;
mod record;
mod sink;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::path::PathBuf;
use std::str::FromStr;

pub use failed::Failed;
pub use failures::{FailurePrinter, SHOWN_FAILURES, ShowOutput};
pub use record::{RunNames, put_failed, put_journalled, put_record};
pub use writer::{WriteError, Writer};

use crate::error::Error;
use crate::placeholder::Template;
use crate::wire::message::ItemForm;

/// How outcomes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutFormat {
    /// One compact array of values.
    Json,
    /// One value a line.
    Jsonl,
    /// One outcome a line.
    Records,
    /// Each value's text and a newline.
    Lines,
    /// Each value's bytes.
    Raw,
}

impl OutFormat {
    /// Names as `--output` takes them.
    pub const NAMES: [&'static str; 5] = ["json", "jsonl", "records", "lines", "raw"];

    /// Whether workers must hand over text and bytes as they are, instead of
    /// as JSON.
    #[must_use]
    pub const fn requires_exact(self) -> bool {
        match self {
            Self::Lines | Self::Raw => true,
            Self::Json | Self::Jsonl | Self::Records => false,
        }
    }
}

impl FromStr for OutFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "json" => Self::Json,
            "jsonl" => Self::Jsonl,
            "records" => Self::Records,
            "lines" => Self::Lines,
            "raw" => Self::Raw,
            _ => {
                let names = Self::NAMES.join(", ");
                return Err(Error::Usage(format!("unknown output format {name:?} (there are {names})")));
            }
        })
    }
}

/// What stands for a failed item among values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// `null`, so that positions are kept.
    #[default]
    Null,
    /// Nothing; always so among lines and raw bytes.
    Omit,
}

impl FromStr for OnFailure {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "null" => Ok(Self::Null),
            "omit" => Ok(Self::Omit),
            _ => Err(Error::Usage(format!("--on-failure: {name:?} is neither null nor omit"))),
        }
    }
}

/// Where outcomes go: what `-o` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    #[default]
    Stdout,
    /// One file, or device, or pipe.
    File(PathBuf),
    /// A file for each item; records go to standard output.
    Pattern(Template),
}

impl Target {
    /// Reads the argument of `-o`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let template = Template::parse(text);
        match text {
            "-" => Self::Stdout,
            _ if template.is_literal() => Self::File(PathBuf::from(text)),
            _ => Self::Pattern(template),
        }
    }

    /// Whether outcomes are told as records, which name the items' lines.
    #[must_use]
    pub fn needs_names(&self) -> bool {
        matches!(self, Self::Pattern(_))
    }

    /// Whether the tags of items must keep the items' bytes.
    #[must_use]
    pub fn needs_item(&self) -> bool {
        matches!(self, Self::Pattern(template) if template.uses_item())
    }
}

/// How a run's outcomes are written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Their form; always records with [`Target::Pattern`].
    pub format: OutFormat,
    /// Where they go.
    pub target: Target,
    /// What stands for failed ones.
    pub on_failure: OnFailure,
    /// Files of a pattern may replace others.
    pub overwrite: bool,
    /// Outcomes are handed on as soon as no other is at hand, not when a block
    /// is full.
    pub flush_idle: bool,
    /// What records call the module and the function.
    pub names: RunNames,
    /// What the items' bytes are, for placeholders.
    pub item_form: ItemForm,
}

impl Options {
    /// Writes to standard output.
    #[must_use]
    pub fn new(format: OutFormat) -> Self {
        Self {
            format,
            target: Target::default(),
            on_failure: OnFailure::default(),
            overwrite: false,
            flush_idle: false,
            names: RunNames::default(),
            item_form: ItemForm::Json,
        }
    }

    /// Whether workers must hand over text and bytes as they are
    /// (`Encode::Exact`).
    #[must_use]
    pub fn requires_exact(&self) -> bool {
        self.format.requires_exact() || matches!(self.target, Target::Pattern(_))
    }
}
