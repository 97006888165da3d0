//! Plain exports over i32, i64, f32 and f64: JSON numbers in and out.

use wasmtime::{ExternType, FuncType, Module, ValRaw, ValType};

use crate::outcome::{Failure, Form};
use crate::runtime::abi::payload::{bad_input, bad_output};
use crate::runtime::call::NumberFunc;
use crate::runtime::core_guest::Live;
use crate::runtime::instance::TaskInput;
use crate::runtime::trap::Phase;
use crate::value::Value;
use crate::value::args::Plan;
use crate::value::json;
use crate::value::ty::{Field, FuncTy, Ty};
use crate::wire::message::{BytesAs, ItemForm, Refusal, Target, TaskSpec};

/// Numbers that nearly all functions make do with: no allocation for them.
const FEW: usize = 8;

/// A function over numbers, ready to be called.
pub struct CoreCall {
    func: NumberFunc,
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
    pub fn new(target: &Target, module: &Module, task: &TaskSpec) -> Result<Self, Refusal> {
        let name = target.name.as_str();
        let Some(ExternType::Func(ty)) = module.get_export(name) else {
            return Err(Refusal::module(format!("export {name:?} is no function")));
        };
        let ty = func_ty(&ty);
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
        let plan = Plan::new(&ty.params, target.spread.unwrap_or(task.spread), &task.with, task.extra_fields_ignored)
            .map_err(|error| Refusal::module(format!("{name:?}: {}", error.message)))?;
        let func = NumberFunc::new(module, name);
        let func = func.ok_or_else(|| Refusal::module(format!("{name:?} takes or gives more than numbers")))?;
        Ok(Self { func, plan, results: ty.results })
    }

    /// Whether these arguments fit.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, args: &[u8]) -> Result<(), Failure> {
        self.plan.arguments(args, ItemForm::Json).map(drop).map_err(bad_input)
    }

    /// Calls the function with what an item gives.
    ///
    /// # Errors
    /// Whatever kept the task from a value.
    pub fn run(&self, live: &mut Live, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let mut few = [ValRaw::i64(0); FEW];
        let mut many;
        let slots = if self.func.slots() <= FEW {
            &mut few[..]
        } else {
            many = vec![ValRaw::i64(0); self.func.slots()];
            &mut many[..]
        };
        match self.integer(task) {
            Some(number) => slots[0] = number,
            None => self.arguments(task, slots)?,
        }
        live.call(&self.func, slots).map_err(|error| live.failure(&error, Phase::Task))?;
        self.write(slots, out)?;
        Ok(Form::Json)
    }

    /// The argument of a function over one integer whose item is one, which
    /// needs no plan.
    fn integer(&self, task: &TaskInput<'_>) -> Option<ValRaw> {
        if task.form != ItemForm::Json {
            return None;
        }
        match self.plan.sole()? {
            Ty::I32 => Some(ValRaw::i32(i32::try_from(integer(task.item)?).ok()?)),
            Ty::I64 => Some(ValRaw::i64(integer(task.item)?)),
            _ => None,
        }
    }

    fn arguments(&self, task: &TaskInput<'_>, slots: &mut [ValRaw]) -> Result<(), Failure> {
        let values = self.plan.arguments(task.item, task.form).map_err(bad_input)?;
        for (slot, value) in slots.iter_mut().zip(&values) {
            *slot = number(value).ok_or_else(|| bad_output("an argument is no number"))?;
        }
        Ok(())
    }

    fn write(&self, slots: &[ValRaw], out: &mut Vec<u8>) -> Result<(), Failure> {
        match self.results.as_slice() {
            [] => out.extend_from_slice(b"null"),
            [ty] => write_number(&slots[0], ty, out)?,
            many => {
                out.push(b'[');
                for (position, (slot, ty)) in slots.iter().zip(many).enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    write_number(slot, ty, out)?;
                }
                out.push(b']');
            }
        }
        Ok(())
    }
}

/// A JSON integer without white space, of at most 18 digits: what nearly all
/// items are. Anything else is read, or refused, by the value reader.
fn integer(item: &[u8]) -> Option<i64> {
    let (negative, digits) = match item {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && item.len() > 1) {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        number = number * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(if negative { -number } else { number })
}

fn number(value: &Value) -> Option<ValRaw> {
    Some(match value {
        Value::S32(bits) => ValRaw::i32(*bits),
        Value::S64(bits) => ValRaw::i64(*bits),
        Value::F32(number) => ValRaw::f32(number.to_bits()),
        Value::F64(number) => ValRaw::f64(number.to_bits()),
        _ => return None,
    })
}

fn write_number(slot: &ValRaw, ty: &Ty, out: &mut Vec<u8>) -> Result<(), Failure> {
    let value = match ty {
        Ty::I32 => {
            out.extend_from_slice(itoa::Buffer::new().format(slot.get_i32()).as_bytes());
            return Ok(());
        }
        Ty::I64 => {
            out.extend_from_slice(itoa::Buffer::new().format(slot.get_i64()).as_bytes());
            return Ok(());
        }
        Ty::F32 => Value::F32(f32::from_bits(slot.get_f32())),
        Ty::F64 => Value::F64(f64::from_bits(slot.get_f64())),
        _ => return Err(bad_output("a result is no number")),
    };
    json::write(&value, ty, BytesAs::Array, out).map_err(|error| bad_output(error.message))
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn only_plain_integers_are_read_without_a_plan() {
        for (item, number) in [("0", 0), ("7", 7), ("-12", -12), ("999999999999999999", 999_999_999_999_999_999)] {
            assert_eq!(integer(item.as_bytes()), Some(number), "{item}");
        }
        for item in ["", "-", "-0", "00", "01", "-01", "1.5", "1e3", " 1", "1 ", "+1", "0x1", "1000000000000000000"] {
            assert_eq!(integer(item.as_bytes()), None, "{item:?}");
        }
    }
}
