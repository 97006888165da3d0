//! One function of a component: how items become its arguments and its result
//! a value. Signatures over one string or one list of bytes have a typed path
//! that touches no element by itself; all others go through dynamic values.

use std::borrow::Cow;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, Val};

use crate::describe::Function;
use crate::limits::Limits;
use crate::outcome::{Failure, Form, Kind};
use crate::runtime::abi::component::Live;
use crate::runtime::abi::component::val::{from_val, to_val};
use crate::runtime::abi::payload::{bad_input, bad_output};
use crate::runtime::instance::TaskInput;
use crate::runtime::trap;
use crate::value::args::{Plan, whole};
use crate::value::json::{self, WriteError};
use crate::value::ty::Ty;
use crate::value::{Value, ValueError};
use crate::wire::message::{BytesAs, Encode, ItemForm, Refusal, TaskSpec};

/// A function, ready to be called.
#[derive(Debug)]
pub struct FunctionCall {
    export: ComponentExportIndex,
    plan: Plan,
    params: Vec<Ty>,
    result: Option<Ty>,
    typed: Option<Typed>,
    writer: Writer,
}

/// A signature that has a typed path.
#[derive(Clone, Copy, Debug)]
struct Typed {
    takes: Blob,
    gives: Blob,
    /// It gives a `result` whose error is a string.
    fallible: bool,
}

/// What is passed as one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blob {
    Bytes,
    Text,
}

impl Blob {
    fn of(ty: &Ty) -> Option<Self> {
        match ty {
            Ty::String => Some(Self::Text),
            ty if ty.is_bytes() => Some(Self::Bytes),
            _ => None,
        }
    }
}

impl Typed {
    fn of(plan: &Plan, result: Option<&Ty>) -> Option<Self> {
        let takes = Blob::of(plan.sole()?)?;
        match result? {
            Ty::Result(Some(ok), Some(err)) if **err == Ty::String => {
                Some(Self { takes, gives: Blob::of(ok)?, fallible: true })
            }
            plain => Some(Self { takes, gives: Blob::of(plain)?, fallible: false }),
        }
    }
}

/// How values are written.
#[derive(Debug)]
struct Writer {
    bytes: BytesAs,
    encode: Encode,
    limits: Limits,
}

/// Longest part of a guest's own error that its message quotes, in bytes.
const MAX_MESSAGE: usize = 4096;
/// Longest error that its detail carries as a value, in bytes.
const MAX_VALUE: usize = 1 << 20;

impl FunctionCall {
    /// Plans calls of a function.
    ///
    /// # Errors
    /// A type that JSON cannot carry, or parameters that items do not fit.
    pub fn new(function: &Function, export: ComponentExportIndex, task: &TaskSpec) -> Result<Self, Refusal> {
        let name = function.path();
        for field in &function.ty.params {
            if let Some(ty) = field.ty.unsupported() {
                let parameter = &field.name;
                let message = format!("parameter {parameter:?} of {name:?} is {ty}, which JSON cannot carry");
                return Err(Refusal::module(message));
            }
        }
        let result = function.ty.results.first().cloned();
        if let Some(ty) = result.as_ref().and_then(Ty::unsupported) {
            return Err(Refusal::module(format!("the result of {name:?} is {ty}, which JSON cannot carry")));
        }
        let plan = Plan::new(&function.ty.params, task.spread, &task.with, task.extra_fields_ignored)
            .map_err(|error| Refusal::module(format!("{name:?}: {}", error.message)))?;
        let typed = Typed::of(&plan, result.as_ref());
        let params = function.ty.params.iter().map(|field| field.ty.clone()).collect();
        let writer = Writer { bytes: task.bytes, encode: task.encode, limits: task.limits.clone() };
        Ok(Self { export, plan, params, result, typed, writer })
    }

    /// Calls the function with what an item gives; the value is appended to
    /// `out`.
    ///
    /// # Errors
    /// Whatever kept the task from a value.
    pub fn run(&self, live: &mut Live, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let Some(typed) = self.typed else { return self.run_dynamic(live, task, out) };
        match typed.takes {
            Blob::Bytes => self.run_typed::<(&[u8],)>(live, typed, (&self.bytes(task)?,), out),
            Blob::Text => self.run_typed::<(&str,)>(live, typed, (&self.text(task)?,), out),
        }
    }

    fn bytes<'i>(&self, task: &TaskInput<'i>) -> Result<Cow<'i, [u8]>, Failure> {
        if task.form == ItemForm::Raw {
            return Ok(Cow::Borrowed(task.item));
        }
        match self.plan.arguments(task.item, task.form).map_err(bad_input)?.pop() {
            Some(Value::Bytes(bytes)) => Ok(Cow::Owned(bytes)),
            _ => Err(bad_input(ValueError::new("expected bytes"))),
        }
    }

    fn text<'i>(&self, task: &TaskInput<'i>) -> Result<Cow<'i, str>, Failure> {
        if task.form == ItemForm::Raw {
            let text = std::str::from_utf8(task.item);
            return text.map(Cow::Borrowed).map_err(|_| {
                let error = whole(task.item, task.form, &Ty::String, false).err();
                bad_input(error.unwrap_or_else(|| ValueError::new("not UTF-8")))
            });
        }
        match self.plan.arguments(task.item, task.form).map_err(bad_input)?.pop() {
            Some(Value::String(text)) => Ok(Cow::Owned(text)),
            _ => Err(bad_input(ValueError::new("expected a string"))),
        }
    }

    fn run_typed<P>(&self, live: &mut Live, typed: Typed, params: P, out: &mut Vec<u8>) -> Result<Form, Failure>
    where
        P: ComponentNamedList + Lower,
    {
        match (typed.gives, typed.fallible) {
            (Blob::Bytes, false) => {
                let bytes = self.call::<P, Vec<u8>>(live, params)?;
                self.writer.bytes(bytes, out)
            }
            (Blob::Text, false) => {
                let text = self.call::<P, String>(live, params)?;
                self.writer.text(&text, out)
            }
            (Blob::Bytes, true) => match self.call::<P, Result<Vec<u8>, String>>(live, params)? {
                Ok(bytes) => self.writer.bytes(bytes, out),
                Err(error) => Err(self.guest_error(Some((&Value::String(error), &Ty::String)))),
            },
            (Blob::Text, true) => match self.call::<P, Result<String, String>>(live, params)? {
                Ok(text) => self.writer.text(&text, out),
                Err(error) => Err(self.guest_error(Some((&Value::String(error), &Ty::String)))),
            },
        }
    }

    fn call<P, R>(&self, live: &mut Live, params: P) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower,
        R: 'static,
        (R,): ComponentNamedList + Lift,
    {
        let func = live.instance.get_typed_func::<P, (R,)>(&mut live.store, &self.export);
        let called = func.and_then(|func| func.call(&mut live.store, params));
        called.map(|(result,)| result).map_err(|error| live.failure(&error))
    }

    fn run_dynamic(&self, live: &mut Live, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let values = self.plan.arguments(task.item, task.form).map_err(bad_input)?;
        let params = values.into_iter().zip(&self.params).map(|(value, ty)| to_val(value, ty));
        let params = params.collect::<Result<Vec<Val>, _>>().map_err(bad_input)?;
        let Some(func) = live.instance.get_func(&mut live.store, self.export) else {
            return Err(bad_output("the function is gone"));
        };
        let mut results = [Val::Bool(false)];
        let results = &mut results[..usize::from(self.result.is_some())];
        func.call(&mut live.store, &params, results).map_err(|error| live.failure(&error))?;
        let (Some(ty), [result]) = (&self.result, results) else {
            out.extend_from_slice(b"null");
            return Ok(Form::Json);
        };
        let result = std::mem::replace(result, Val::Bool(false));
        self.give(from_val(result, ty).map_err(unfit_output)?, ty, out)
    }

    /// Writes a result; a `result` at the top is the task's own success or
    /// failure.
    fn give(&self, result: Value, ty: &Ty, out: &mut Vec<u8>) -> Result<Form, Failure> {
        match (result, ty) {
            (Value::Result(Ok(payload)), Ty::Result(ok, _)) => match (payload, ok) {
                (Some(value), Some(ty)) => self.writer.value(*value, ty, out),
                _ => {
                    out.extend_from_slice(b"null");
                    Ok(Form::Json)
                }
            },
            (Value::Result(Err(payload)), Ty::Result(_, err)) => {
                Err(self.guest_error(payload.as_deref().zip(err.as_deref())))
            }
            (value, ty) => self.writer.value(value, ty, out),
        }
    }

    /// The failure that a task reported by itself.
    fn guest_error(&self, error: Option<(&Value, &Ty)>) -> Failure {
        let Some((error, ty)) = error else { return Failure::new(Kind::Error, "the task failed without a message") };
        let mut json = Vec::new();
        let written = json::write_within(error, ty, self.writer.bytes, MAX_VALUE, &mut json);
        let message = match error {
            Value::String(text) if text.is_empty() => "the task failed without a message".to_owned(),
            Value::String(text) => text[..text.floor_char_boundary(MAX_MESSAGE)].to_owned(),
            _ => String::from_utf8_lossy(&json[..json.len().min(MAX_MESSAGE)]).into_owned(),
        };
        Failure::new(Kind::Error, message).with(|detail| {
            detail.value = written.ok().and_then(|()| serde_json::from_slice(&json).ok());
        })
    }
}

impl Writer {
    fn value(&self, value: Value, ty: &Ty, out: &mut Vec<u8>) -> Result<Form, Failure> {
        match value {
            Value::Bytes(bytes) => self.bytes(bytes, out),
            Value::String(text) => self.text(&text, out),
            value => self.json(&value, ty, out),
        }
    }

    fn bytes(&self, bytes: Vec<u8>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        self.check(bytes.len())?;
        if self.encode == Encode::Exact {
            out.extend_from_slice(&bytes);
            return Ok(Form::Bytes);
        }
        self.json(&Value::Bytes(bytes), &Ty::List(Box::new(Ty::U8)), out)
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) -> Result<Form, Failure> {
        self.check(text.len())?;
        if self.encode == Encode::Exact {
            out.extend_from_slice(text.as_bytes());
            return Ok(Form::Text);
        }
        let before = out.len();
        json::write_string(text, out);
        self.check(out.len() - before)?;
        Ok(Form::Json)
    }

    fn json(&self, value: &Value, ty: &Ty, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let limit = usize::try_from(self.limits.max_result).unwrap_or(usize::MAX);
        match json::write_within(value, ty, self.bytes, out.len().saturating_add(limit), out) {
            Ok(()) => Ok(Form::Json),
            Err(WriteError::TooLong(_)) => Err(trap::result_too_large(&self.limits)),
            Err(WriteError::Unfit(error)) => Err(unfit_output(error)),
        }
    }

    fn check(&self, length: usize) -> Result<(), Failure> {
        if length as u64 > self.limits.max_result { Err(trap::result_too_large(&self.limits)) } else { Ok(()) }
    }
}

fn unfit_output(error: ValueError) -> Failure {
    bad_output(error.to_string()).with(|detail| detail.path = Some(error.path))
}
