//! One function of a component: how items become its arguments and its result
//! a value. Whatever the types are, nothing is looked up by name, and no
//! element has a value of its own.

use wasmtime::component::ComponentExportIndex;

use crate::describe::Function;
use crate::limits::Limits;
use crate::outcome::{Failure, Form, JsonText, Kind};
use crate::runtime::abi::component::Live;
use crate::runtime::abi::component::lift::Given;
use crate::runtime::abi::component::lower::Args;
use crate::runtime::abi::payload::{bad_input, bad_output};
use crate::runtime::instance::TaskInput;
use crate::runtime::trap;
use crate::value::ValueError;
use crate::value::args::Plan;
use crate::value::json::{self, WriteError};
use crate::value::packed::{Packed, Unpacker};
use crate::value::ty::Ty;
use crate::wire::message::{BytesAs, Encode, ItemForm, Refusal, Spread, TaskSpec};

/// A function, ready to be called.
#[derive(Debug)]
pub struct FunctionCall {
    export: ComponentExportIndex,
    plan: Plan,
    result: Option<Ty>,
    writer: Writer,
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
        let writer = Writer { bytes: task.bytes, encode: task.encode, limits: task.limits.clone() };
        Ok(Self { export, plan, result, writer })
    }

    /// Whether these arguments fit.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, args: &[u8]) -> Result<(), Failure> {
        self.plan.pack(args, ItemForm::Json).map(drop).map_err(bad_input)
    }

    /// Calls the function with what an item gives; the value is appended to
    /// `out`.
    ///
    /// # Errors
    /// Whatever kept the task from a value.
    pub fn run(&self, live: &mut Live, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let args = self.plan.pack(task.item, task.form).map_err(bad_input)?;
        let Some(ty) = &self.result else {
            let func = live.instance.get_typed_func::<Args<'_>, ()>(&mut live.store, &self.export);
            func.and_then(|func| func.call(&mut live.store, Args(&args))).map_err(|error| live.failure(&error))?;
            out.extend_from_slice(b"null");
            return Ok(Form::Json);
        };
        let func = live.instance.get_typed_func::<Args<'_>, (Given,)>(&mut live.store, &self.export);
        match func.and_then(|func| func.call(&mut live.store, Args(&args))) {
            Ok((Given(packed),)) => self.give(&packed, ty, out).map_err(|failure| live.finish(failure)),
            Err(error) => Err(live.failure(&error)),
        }
    }

    /// Writes a result; a `result` at the top is the task's own success or
    /// failure.
    fn give(&self, packed: &Packed<'_>, ty: &Ty, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let mut values = Unpacker::new(packed);
        let Ty::Result(ok, err) = ty else { return self.writer.value(&mut values, ty, out) };
        match (values.word(), ok) {
            (Some(0), Some(ty)) => self.writer.value(&mut values, ty, out),
            (Some(0), None) => {
                out.extend_from_slice(b"null");
                Ok(Form::Json)
            }
            _ => Err(self.guest_error(&mut values, err.as_deref())),
        }
    }

    /// The failure that a task reported by itself.
    fn guest_error(&self, error: &mut Unpacker<'_>, ty: Option<&Ty>) -> Failure {
        const NO_MESSAGE: &str = "the task failed without a message";
        let Some(ty) = ty else { return Failure::new(Kind::Error, NO_MESSAGE) };
        let text = if *ty == Ty::String { error.clone().text() } else { None };
        let mut json = Vec::new();
        let written = json::write_packed(error, ty, self.writer.bytes, MAX_VALUE, &mut json);
        let message = match text {
            Some("") => NO_MESSAGE.to_owned(),
            Some(text) => text[..text.floor_char_boundary(MAX_MESSAGE)].to_owned(),
            None => String::from_utf8_lossy(&json[..json.len().min(MAX_MESSAGE)]).into_owned(),
        };
        Failure::new(Kind::Error, message).with(|detail| {
            detail.value = written.ok().and_then(|()| JsonText::new(String::from_utf8(json).ok()?));
        })
    }
}

impl Writer {
    fn value(&self, values: &mut Unpacker<'_>, ty: &Ty, out: &mut Vec<u8>) -> Result<Form, Failure> {
        if *ty == Ty::String
            && let Some(text) = values.clone().text()
        {
            return self.text(text, out);
        }
        if ty.is_bytes()
            && let Some(bytes) = values.clone().numbers(1)
        {
            self.check(bytes.len())?;
            if self.encode == Encode::Exact {
                out.extend_from_slice(bytes);
                return Ok(Form::Bytes);
            }
        }
        let limit = usize::try_from(self.limits.max_result).unwrap_or(usize::MAX);
        match json::write_packed(values, ty, self.bytes, out.len().saturating_add(limit), out) {
            Ok(()) => Ok(Form::Json),
            Err(WriteError::TooLong(_)) => Err(trap::result_too_large(&self.limits)),
            Err(WriteError::Unfit(error)) => Err(unfit_output(error)),
        }
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

    fn check(&self, length: usize) -> Result<(), Failure> {
        if length as u64 > self.limits.max_result { Err(trap::result_too_large(&self.limits)) } else { Ok(()) }
    }
}

fn unfit_output(error: ValueError) -> Failure {
    bad_output(error.to_string()).with(|detail| detail.path = Some(error.path))
}
