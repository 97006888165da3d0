//! What became of one item: the closed vocabulary of outcome kinds, and the
//! record of a finished item that travels from the slot to the reader.
//!
//! No I/O and no threads here. The wire encodes these types, the pool fills
//! them in, the command line prints them.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What went over a connection: the value of a program that talked to a
/// client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes that the client sent and the program read.
    pub received: u64,
    /// Bytes that the program sent.
    pub sent: u64,
}

/// How an item ended. The strings of [`Kind::as_str`] are stable; readers of
/// records treat a string they do not know as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The task function returned a value.
    Ok,
    /// The task function reported an error of its own.
    Error,
    /// A wasm trap: unreachable, an access out of bounds, a division by zero.
    Trap,
    /// The guest called exit.
    Exit,
    /// The item ran longer than `--timeout` or `--cpu-timeout`.
    Timeout,
    /// The item used up `--fuel`.
    OutOfFuel,
    /// The guest needed more than `--memory` and gave up.
    OutOfMemory,
    /// The wasm stack grew over `--stack`.
    StackOverflow,
    /// The result is larger than `--max-result`.
    ResultTooLarge,
    /// A stubbed import or a capability that was not granted was called.
    Denied,
    /// The item does not fit the function's parameter, or `--max-item`.
    BadInput,
    /// What the guest returned is not what its type or `--result` promises.
    BadOutput,
    /// The worker process died while it ran this item.
    WorkerCrashed,
    /// The run ended before the item did.
    Cancelled,
}

impl Kind {
    /// Every kind, in the order used for summaries.
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::Error,
        Self::Trap,
        Self::Exit,
        Self::Timeout,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::StackOverflow,
        Self::ResultTooLarge,
        Self::Denied,
        Self::BadInput,
        Self::BadOutput,
        Self::WorkerCrashed,
        Self::Cancelled,
    ];

    /// The stable name, as in records and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Exit => "exit",
            Self::Timeout => "timeout",
            Self::OutOfFuel => "out-of-fuel",
            Self::OutOfMemory => "out-of-memory",
            Self::StackOverflow => "stack-overflow",
            Self::ResultTooLarge => "result-too-large",
            Self::Denied => "denied",
            Self::BadInput => "bad-input",
            Self::BadOutput => "bad-output",
            Self::WorkerCrashed => "worker-crashed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A string that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown outcome kind {0:?}")]
pub struct UnknownKind(pub String);

/// A limit that ended an item, with the flag that raises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitHit {
    /// The limit's name, such as `timeout` or `memory`.
    pub name: String,
    /// Its value, in `unit`.
    pub value: u64,
    /// `ms`, `bytes` or `instructions`.
    pub unit: String,
    /// The flag that raises it, such as `--timeout`.
    pub flag: String,
}

impl LimitHit {
    /// Names a limit.
    #[must_use]
    pub fn new(name: &str, value: u64, unit: &str, flag: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned(), flag: flag.to_owned() }
    }
}

/// One wasm frame of a trap's backtrace, innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function's name from the name section, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub func: Option<String>,
    /// The function's index in its module.
    pub index: u32,
    /// Offset of the instruction in the module, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// At most this many frames of a trap are kept.
pub const MAX_FRAMES: usize = 16;

/// Most flags of one failure; there are fewer.
const MAX_DENIED: usize = 32;

/// Reads a list that has no more than `MOST` elements: a worker that is no
/// longer ours could make the host hold many times what it sends.
fn short<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(reader: D) -> Result<Vec<T>, D::Error> {
    struct Short<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Short<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                if list.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }
    reader.deserialize_seq(Short::<T, MOST>(PhantomData))
}

/// Machine-readable particulars of a failure; which keys are set depends on
/// the kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Trap code, such as `unreachable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trap: Option<String>,
    /// Exit code of the guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Signal that ended the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// `sandbox-violation`, `maybe-ran` or `protocol`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// JSON path into the item or the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `init` when the failure happened before the task function ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The limit that ended the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
    /// A growth of memory was refused while the item ran.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub memory_refused: bool,
    /// Flags that would have granted what the guest was denied.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "short::<_, _, MAX_DENIED>")]
    pub denied: Vec<String>,
    /// Wasm frames of a trap, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "short::<_, _, MAX_FRAMES>")]
    pub frames: Vec<Frame>,
    /// The stubbed import that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<String>,
    /// `cpu` when a timeout was by processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// What the task function's `err` carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<JsonText>,
}

/// A JSON value as its text, on one line. Not as a tree, which would take many
/// times as much memory, and a stack for its depth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// The value that is written so; `None` for what is not one JSON value.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text: String = text.into();
        let text = match text.find(|c: char| c < ' ') {
            // Strings have none of them: these are white space.
            Some(_) => text.replace(|c: char| c < ' ', " "),
            None => text,
        };
        RawValue::from_string(text).ok().map(Self)
    }

    /// Its text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// Why an item is not `ok`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Never [`Kind::Ok`].
    pub kind: Kind,
    /// For people; lower case, no full stop, names the limit and its flag.
    /// May hold guest text: printers escape it.
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub detail: Box<Detail>,
}

impl Failure {
    /// A failure without particulars.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: Box::default() }
    }

    /// The same failure with its particulars changed by `edit`.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Detail)) -> Self {
        edit(&mut self.detail);
        self
    }

    /// Bytes that it keeps in memory, about.
    fn weight(&self) -> usize {
        let detail = &self.detail;
        let names = detail.frames.iter().map(|frame| size_of::<Frame>() + frame.func.as_ref().map_or(0, String::len));
        let denied = detail.denied.iter().map(|flag| size_of::<String>() + flag.len());
        let texts = [&detail.trap, &detail.reason, &detail.path, &detail.phase, &detail.import, &detail.clock];
        let texts = texts.into_iter().flatten().map(String::len);
        let value = detail.value.as_ref().map_or(0, |value| value.get().len());
        size_of::<Detail>() + self.message.len() + value + names.chain(denied).chain(texts).sum::<usize>()
    }

    /// A failure caused by a limit; `what` reads as `ran longer than 2s`.
    #[must_use]
    pub fn limit(kind: Kind, what: impl fmt::Display, hit: LimitHit) -> Self {
        let message = format!("{what} (raise it with {})", hit.flag);
        Self::new(kind, message).with(|detail| detail.limit = Some(hit))
    }
}

/// In which form a value travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Compact JSON text on one line, by the word of the worker:
    /// [`crate::scan::check`] tells whether it is.
    Json,
    /// UTF-8 text.
    Text,
    /// Bytes as the guest made them.
    Bytes,
}

/// The value of an `ok` item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// How to read `bytes`.
    pub form: Form,
    /// The value itself.
    pub bytes: Bytes,
}

/// What an item used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall time from the item's start in the worker.
    pub wall: Duration,
    /// Processor time; equals `wall` for items under 100 µs.
    pub cpu: Duration,
    /// Instructions, where `--fuel` is on.
    pub fuel: Option<u64>,
    /// Highest sum of linear memories and tables, in bytes.
    pub peak_memory: u64,
}

/// Tails of what the guest printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Tail of standard output, where that is not the result.
    pub stdout: Bytes,
    /// Tail of standard error.
    pub stderr: Bytes,
    /// Something before the tails was dropped.
    pub truncated: bool,
}

impl Captured {
    /// Whether nothing was printed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }
}

/// Everything known about one finished item.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Position of the item in the input.
    pub index: u64,
    /// The value, or why there is none.
    pub result: Result<Value, Failure>,
    /// How often the item was started.
    pub attempts: u32,
    /// The slot whose worker ran it, where one did.
    pub worker: Option<u32>,
    /// When the last attempt started, where one did.
    pub started: Option<SystemTime>,
    /// What the last attempt used.
    pub usage: Usage,
    /// What the last attempt printed.
    pub captured: Captured,
    /// What the reader attached to the item when it was submitted.
    pub tag: Option<Box<Tag>>,
}

/// What a reader of input knows about an item beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// File or line the item came from.
    pub input: Option<String>,
    /// The scalar that `--id` copied out of the item, as JSON text.
    pub id: Option<String>,
    /// Where a file stands below its glob's fixed prefix.
    pub path: Option<String>,
    /// The item's own bytes, kept only where the output needs them.
    pub item: Option<Bytes>,
    /// What a journal knows the item by, where one is kept.
    pub key: Option<ItemKey>,
    /// The item was done in an earlier run: where the journal has its record.
    pub stored: Option<u64>,
}

/// What a journal knows an item by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemKey {
    /// What the item is.
    pub hash: u64,
    /// How many items before it are the same.
    pub nth: u32,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.hash, self.nth)
    }
}

impl std::str::FromStr for ItemKey {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hash, nth) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { hash: u64::from_str_radix(hash, 16)?, nth: nth.parse()? })
    }
}

impl Outcome {
    /// The outcome's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.result {
            Ok(_) => Kind::Ok,
            Err(failure) => failure.kind,
        }
    }

    /// Bytes that this outcome keeps in memory while it waits to be read.
    #[must_use]
    pub fn weight(&self) -> usize {
        let value = match &self.result {
            Ok(value) => value.bytes.len(),
            Err(failure) => failure.weight(),
        };
        let kept = self.tag.as_ref().and_then(|tag| tag.item.as_ref()).map_or(0, Bytes::len);
        size_of::<Self>() + value + kept + self.captured.stdout.len() + self.captured.stderr.len()
    }
}
