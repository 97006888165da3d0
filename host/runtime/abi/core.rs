//! Plain exports over i32, i64, f32 and f64: JSON numbers in and out.

use wasmtime::{ExternType, FuncType, Val, ValType};

use crate::outcome::{Failure, Form};
use crate::runtime::abi::payload::{bad_input, bad_output};
use crate::runtime::core_guest::Live;
use crate::runtime::instance::TaskInput;
use crate::runtime::trap::Phase;
use crate::value::Value;
use crate::value::args::Plan;
use crate::value::json;
use crate::value::ty::{Field, FuncTy, Ty};
use crate::wire::message::{BytesAs, Refusal, TaskSpec};

/// A function over numbers, ready to be called.
#[derive(Debug)]
pub struct CoreCall {
    plan: Plan,
    results: Vec<Ty>,
}

/// A core function type in the vocabulary of descriptions.
#[must_use]
pub fn func_ty(ty: &FuncType) -> FuncTy {
    let params = ty.params().enumerate();
    FuncTy {
        params: params.map(|(position, ty)| Field { name: position.to_string(), ty: core_ty(&ty) }).collect(),
        results: ty.results().map(|ty| core_ty(&ty)).collect(),
    }
}

fn core_ty(ty: &ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::Unsupported("v128".to_owned()),
        ValType::Ref(reference) => Ty::Unsupported(reference.to_string()),
    }
}

impl CoreCall {
    /// Plans calls of a function of this type.
    ///
    /// # Errors
    /// A type that JSON cannot carry, or one that the items do not fit.
    pub fn new(name: &str, ty: &ExternType, task: &TaskSpec) -> Result<Self, Refusal> {
        let ExternType::Func(ty) = ty else {
            return Err(Refusal::module(format!("export {name:?} is no function")));
        };
        let ty = func_ty(ty);
        for field in &ty.params {
            if let Some(name_of_type) = field.ty.unsupported() {
                let parameter = &field.name;
                return Err(Refusal::module(format!(
                    "parameter {parameter} of {name:?} is {name_of_type}, which JSON cannot carry"
                )));
            }
        }
        if let Some(result) = ty.results.iter().find_map(Ty::unsupported) {
            return Err(Refusal::module(format!("a result of {name:?} is {result}, which JSON cannot carry")));
        }
        let plan = Plan::new(&ty.params, task.spread, &task.with, task.extra_fields_ignored)
            .map_err(|error| Refusal::module(format!("{name:?}: {}", error.message)))?;
        Ok(Self { plan, results: ty.results })
    }

    /// Calls the function with what an item gives.
    ///
    /// # Errors
    /// Whatever kept the task from a value.
    pub fn run(
        &self,
        live: &mut Live,
        func: wasmtime::Func,
        task: &TaskInput<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Form, Failure> {
        let values = self.plan.arguments(task.item, task.form).map_err(bad_input)?;
        // Nearly all functions have few parameters: no allocation for them.
        let mut short = [const { Val::I32(0) }; 8];
        let mut long;
        let count = values.len() + self.results.len();
        let slots = if count <= short.len() {
            &mut short[..count]
        } else {
            long = vec![Val::I32(0); count];
            &mut long[..]
        };
        let (params, results) = slots.split_at_mut(values.len());
        for (slot, value) in params.iter_mut().zip(&values) {
            *slot = number(value).ok_or_else(|| bad_output("an argument is no number"))?;
        }
        let called = func.call(&mut live.store, params, results);
        called.map_err(|error| live.failure(&error, Phase::Task))?;
        self.write(results, out)?;
        Ok(Form::Json)
    }

    fn write(&self, results: &[Val], out: &mut Vec<u8>) -> Result<(), Failure> {
        match results {
            [] => out.extend_from_slice(b"null"),
            [one] => write_number(one, out)?,
            many => {
                out.push(b'[');
                for (position, result) in many.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    write_number(result, out)?;
                }
                out.push(b']');
            }
        }
        Ok(())
    }
}

fn number(value: &Value) -> Option<Val> {
    Some(match value {
        Value::S32(bits) => Val::I32(*bits),
        Value::S64(bits) => Val::I64(*bits),
        Value::F32(number) => Val::F32(number.to_bits()),
        Value::F64(number) => Val::F64(number.to_bits()),
        _ => return None,
    })
}

fn write_number(value: &Val, out: &mut Vec<u8>) -> Result<(), Failure> {
    let float = |value: Value, ty: Ty, out: &mut Vec<u8>| {
        json::write(&value, &ty, BytesAs::Array, out).map_err(|error| bad_output(error.message))
    };
    match value {
        Val::I32(bits) => out.extend_from_slice(itoa::Buffer::new().format(*bits).as_bytes()),
        Val::I64(bits) => out.extend_from_slice(itoa::Buffer::new().format(*bits).as_bytes()),
        Val::F32(bits) => float(Value::F32(f32::from_bits(*bits)), Ty::F32, out)?,
        Val::F64(bits) => float(Value::F64(f64::from_bits(*bits)), Ty::F64, out)?,
        _ => return Err(bad_output("a result is no number")),
    }
    Ok(())
}
