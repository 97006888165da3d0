//! One function of a component: how items become its arguments and its result
//! a value. Signatures over strings, lists of numbers and single numbers have a
//! typed path that touches no element by itself; all others go through dynamic
//! values.

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, Val};

use crate::describe::Function;
use crate::limits::Limits;
use crate::outcome::{Failure, Form, JsonText, Kind};
use crate::runtime::abi::component::Live;
use crate::runtime::abi::component::blob::Blob;
use crate::runtime::abi::component::flat::{Arg, Args, MAX_FLAT, Scalar, scalar_size};
use crate::runtime::abi::component::val::{from_val, to_val};
use crate::runtime::abi::payload::{bad_input, bad_output};
use crate::runtime::instance::TaskInput;
use crate::runtime::trap;
use crate::value::args::Plan;
use crate::value::json::{self, WriteError};
use crate::value::ty::Ty;
use crate::value::{Value, ValueError};
use crate::wire::message::{BytesAs, Encode, ItemForm, Refusal, Spread, TaskSpec};

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
    /// Flat values of all parameters together.
    takes: usize,
    gives: Gives,
    /// It gives a `result` whose error is a blob.
    fallible: bool,
}

/// What a typed path gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Blob,
    /// A scalar of so many bytes.
    Scalar(u32),
    /// The empty side of a `result`.
    Nothing,
}

impl Gives {
    fn of(ty: &Ty) -> Option<Self> {
        if Blob::carries(ty) { Some(Self::Blob) } else { scalar_size(ty).map(Self::Scalar) }
    }
}

impl Typed {
    /// Without a blob the typed path has no advantage.
    fn of(params: &[Ty], result: Option<&Ty>) -> Option<Self> {
        let takes = params.iter().map(Arg::width).sum::<Option<usize>>().filter(|flat| *flat <= MAX_FLAT)?;
        let (gives, fallible) = match result? {
            Ty::Result(Some(ok), Some(err)) if Blob::carries(err) => (Gives::of(ok)?, true),
            Ty::Result(None, Some(err)) if Blob::carries(err) => (Gives::Nothing, true),
            plain => (Gives::of(plain)?, false),
        };
        let blobs = gives == Gives::Blob || params.iter().any(Blob::carries);
        blobs.then_some(Self { takes, gives, fallible })
    }
}

/// What the engine gives by a typed path.
trait Given: Lift + 'static {
    fn into_value(self) -> Option<Value>;
}

impl Given for Blob<'static> {
    fn into_value(self) -> Option<Value> {
        Some(Blob::into_value(self))
    }
}

impl<const SIZE: u32> Given for Scalar<SIZE> {
    fn into_value(self) -> Option<Value> {
        Some(self.0)
    }
}

impl Given for () {
    fn into_value(self) -> Option<Value> {
        None
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
    pub fn new(
        function: &Function,
        export: ComponentExportIndex,
        spread: Option<Spread>,
        task: &TaskSpec,
    ) -> Result<Self, Refusal> {
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
        let plan = Plan::new(&function.ty.params, spread.unwrap_or(task.spread), &task.with, task.extra_fields_ignored)
            .map_err(|error| Refusal::module(format!("{name:?}: {}", error.message)))?;
        let params: Vec<Ty> = function.ty.params.iter().map(|field| field.ty.clone()).collect();
        let typed = Typed::of(&params, result.as_ref());
        let writer = Writer { bytes: task.bytes, encode: task.encode, limits: task.limits.clone() };
        Ok(Self { export, plan, params, result, typed, writer })
    }

    /// Whether these arguments fit.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, args: &[u8]) -> Result<(), Failure> {
        let values = self.plan.arguments(args, ItemForm::Json).map_err(bad_input)?;
        let mut params = values.into_iter().zip(&self.params);
        params.try_for_each(|(value, ty)| to_val(value, ty).map(drop)).map_err(bad_input)
    }

    /// Calls the function with what an item gives; the value is appended to
    /// `out`.
    ///
    /// # Errors
    /// Whatever kept the task from a value.
    pub fn run(&self, live: &mut Live, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let Some(typed) = self.typed else { return self.run_dynamic(live, task, out) };
        let args = self.args(task)?;
        let result = match typed.takes {
            0 => self.run_typed(live, typed, Args::<0>(args)),
            1 => self.run_typed(live, typed, Args::<1>(args)),
            2 => self.run_typed(live, typed, Args::<2>(args)),
            3 => self.run_typed(live, typed, Args::<3>(args)),
            4 => self.run_typed(live, typed, Args::<4>(args)),
            5 => self.run_typed(live, typed, Args::<5>(args)),
            _ => self.run_typed(live, typed, Args::<MAX_FLAT>(args)),
        };
        self.give(result?, out).map_err(|failure| live.finish(failure))
    }

    fn args<'i>(&self, task: &TaskInput<'i>) -> Result<Vec<Arg<'i>>, Failure> {
        if task.form == ItemForm::Raw {
            match self.plan.sole() {
                Some(ty) if ty.is_bytes() => return Ok(vec![Arg::Blob(Blob::Bytes(task.item.into()))]),
                Some(Ty::String) if let Ok(text) = std::str::from_utf8(task.item) => {
                    return Ok(vec![Arg::Blob(Blob::Text(text.into()))]);
                }
                _ => {}
            }
        }
        let values = self.plan.arguments(task.item, task.form).map_err(bad_input)?;
        let args = values.into_iter().map(Arg::of).collect::<Option<_>>();
        args.ok_or_else(|| bad_input(ValueError::new("expected strings, numbers or lists of numbers")))
    }

    fn run_typed<P>(&self, live: &mut Live, typed: Typed, params: P) -> Result<Value, Failure>
    where
        P: ComponentNamedList + Lower,
    {
        match (typed.gives, typed.fallible) {
            (Gives::Blob, false) => self.call::<P, Blob<'static>>(live, params),
            (Gives::Scalar(1), false) => self.call::<P, Scalar<1>>(live, params),
            (Gives::Scalar(2), false) => self.call::<P, Scalar<2>>(live, params),
            (Gives::Scalar(4), false) => self.call::<P, Scalar<4>>(live, params),
            (Gives::Scalar(_), false) => self.call::<P, Scalar<8>>(live, params),
            (Gives::Blob, true) => self.call_fallible::<P, Blob<'static>>(live, params),
            (Gives::Scalar(1), true) => self.call_fallible::<P, Scalar<1>>(live, params),
            (Gives::Scalar(2), true) => self.call_fallible::<P, Scalar<2>>(live, params),
            (Gives::Scalar(4), true) => self.call_fallible::<P, Scalar<4>>(live, params),
            (Gives::Scalar(_), true) => self.call_fallible::<P, Scalar<8>>(live, params),
            (Gives::Nothing, _) => self.call_fallible::<P, ()>(live, params),
        }
    }

    fn call<P, R>(&self, live: &mut Live, params: P) -> Result<Value, Failure>
    where
        P: ComponentNamedList + Lower,
        R: Given,
    {
        let func = live.instance.get_typed_func::<P, (R,)>(&mut live.store, &self.export);
        match func.and_then(|func| func.call(&mut live.store, params)) {
            Ok((result,)) => result.into_value().ok_or_else(|| bad_output("the function gave nothing")),
            Err(error) => Err(live.failure(&error)),
        }
    }

    fn call_fallible<P, R>(&self, live: &mut Live, params: P) -> Result<Value, Failure>
    where
        P: ComponentNamedList + Lower,
        R: Given,
    {
        let func = live.instance.get_typed_func::<P, (Result<R, Blob<'static>>,)>(&mut live.store, &self.export);
        match func.and_then(|func| func.call(&mut live.store, params)) {
            Ok((Ok(value),)) => Ok(Value::Result(Ok(value.into_value().map(Box::new)))),
            Ok((Err(error),)) => Ok(Value::Result(Err(Some(Box::new(error.into_value()))))),
            Err(error) => Err(live.failure(&error)),
        }
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
        let given = from_val(result, ty).map_err(unfit_output).and_then(|value| self.give(value, out));
        given.map_err(|failure| live.finish(failure))
    }

    /// Writes a result; a `result` at the top is the task's own success or
    /// failure.
    fn give(&self, result: Value, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let Some(ty) = &self.result else { return Err(bad_output("a result of a function that gives none")) };
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
            detail.value = written.ok().and_then(|()| JsonText::new(String::from_utf8(json).ok()?));
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
