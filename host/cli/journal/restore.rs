//! A record of a journal back to the outcome it was made of.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::outcome::{Captured, Form, Outcome, Usage, Value};

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default, rename = "as")]
    form: As,
    attempts: u32,
    worker: Option<u32>,
    started: Option<String>,
    wall_ms: f64,
    cpu_ms: f64,
    peak_memory: u64,
    fuel: Option<u64>,
    stdout: String,
    stderr: String,
    truncated: bool,
}

/// What the value was before it was written as JSON.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum As {
    #[default]
    Json,
    Text,
    Bytes,
}

#[derive(Deserialize)]
struct Base64 {
    base64: String,
}

/// The outcome of a record, in place of one that says that there is one.
pub fn outcome(line: &[u8], place: Outcome) -> Result<Outcome, String> {
    let record: Record<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let started = record.started.and_then(|text| humantime::parse_rfc3339(&text).ok());
    let usage = Usage {
        wall: millis(record.wall_ms),
        cpu: millis(record.cpu_ms),
        fuel: record.fuel,
        peak_memory: record.peak_memory,
    };
    let captured = Captured { stdout: record.stdout.into(), stderr: record.stderr.into(), truncated: record.truncated };
    let value = value(record.value.get(), record.form)?;
    let (attempts, worker) = (record.attempts, record.worker);
    Ok(Outcome { result: Ok(value), attempts, worker, started, usage, captured, ..place })
}

fn value(json: &str, form: As) -> Result<Value, String> {
    let bad = |error: serde_json::Error| error.to_string();
    Ok(match form {
        As::Json => Value { form: Form::Json, bytes: Bytes::copy_from_slice(json.as_bytes()) },
        As::Text => Value { form: Form::Text, bytes: serde_json::from_str::<String>(json).map_err(bad)?.into() },
        As::Bytes => {
            let coded: Base64 = serde_json::from_str(json).map_err(bad)?;
            let bytes = STANDARD.decode(coded.base64).map_err(|error| error.to_string())?;
            Value { form: Form::Bytes, bytes: bytes.into() }
        }
    })
}

fn millis(time: f64) -> Duration {
    Duration::try_from_secs_f64(time / 1000.0).unwrap_or_default()
}
