//! Values ↔ the engine's dynamic values, for signatures without a typed path.

use wasmtime::component::Val;

use crate::value::ty::Ty;
use crate::value::{Numbers, Value, ValueError, for_each_number};

/// The dynamic value of a value of `ty`.
///
/// # Errors
/// A value that is not of its type.
pub fn to_val(value: Value, ty: &Ty) -> Result<Val, ValueError> {
    let boxed = |value: Option<Box<Value>>, ty: Option<&Ty>| match (value, ty) {
        (None, None) => Ok(None),
        (Some(value), Some(ty)) => to_val(*value, ty).map(|value| Some(Box::new(value))),
        _ => Err(unfit("payload")),
    };
    Ok(match (value, ty) {
        (Value::Bool(value), _) => Val::Bool(value),
        (Value::S8(number), _) => Val::S8(number),
        (Value::U8(number), _) => Val::U8(number),
        (Value::S16(number), _) => Val::S16(number),
        (Value::U16(number), _) => Val::U16(number),
        (Value::S32(number), _) => Val::S32(number),
        (Value::U32(number), _) => Val::U32(number),
        (Value::S64(number), _) => Val::S64(number),
        (Value::U64(number), _) => Val::U64(number),
        (Value::F32(number), _) => Val::Float32(number),
        (Value::F64(number), _) => Val::Float64(number),
        (Value::Char(scalar), _) => Val::Char(scalar),
        (Value::String(text), _) => Val::String(text),
        (Value::Bytes(bytes), _) => Val::List(bytes.into_iter().map(Val::U8).collect()),
        (Value::Numbers(numbers), _) => Val::List(spread(numbers)),
        (Value::List(items), Ty::List(item)) => {
            Val::List(items.into_iter().map(|value| to_val(value, item)).collect::<Result<_, _>>()?)
        }
        (Value::Tuple(items), Ty::Tuple(types)) => {
            Val::Tuple(items.into_iter().zip(types).map(|(value, ty)| to_val(value, ty)).collect::<Result<_, _>>()?)
        }
        (Value::Record(values), Ty::Record(fields)) => {
            let fields = values.into_iter().zip(fields);
            let named = fields.map(|(value, field)| Ok((field.name.clone(), to_val(value, &field.ty)?)));
            Val::Record(named.collect::<Result<_, ValueError>>()?)
        }
        (Value::Variant(position, payload), Ty::Variant(cases)) => {
            let case = cases.get(position as usize).ok_or_else(|| unfit("variant"))?;
            Val::Variant(case.name.clone(), boxed(payload, case.ty.as_ref())?)
        }
        (Value::Enum(position), Ty::Enum(names)) => {
            Val::Enum(names.get(position as usize).ok_or_else(|| unfit("enum"))?.clone())
        }
        (Value::Flags(set), Ty::Flags(names)) => {
            let names = set.into_iter().map(|position| names.get(position as usize).cloned());
            Val::Flags(names.collect::<Option<_>>().ok_or_else(|| unfit("flags"))?)
        }
        (Value::Option(None), _) => Val::Option(None),
        (Value::Option(value), Ty::Option(item)) => Val::Option(boxed(value, Some(item))?),
        (Value::Result(Ok(payload)), Ty::Result(ok, _)) => Val::Result(Ok(boxed(payload, ok.as_deref())?)),
        (Value::Result(Err(payload)), Ty::Result(_, err)) => Val::Result(Err(boxed(payload, err.as_deref())?)),
        _ => return Err(unfit("value")),
    })
}

/// The value of a dynamic value, which must be of `ty`.
///
/// # Errors
/// A dynamic value of another type.
pub fn from_val(value: Val, ty: &Ty) -> Result<Value, ValueError> {
    let boxed = |value: Option<Box<Val>>, ty: Option<&Ty>| match (value, ty) {
        (None, None) => Ok(None),
        (Some(value), Some(ty)) => from_val(*value, ty).map(|value| Some(Box::new(value))),
        _ => Err(unfit("payload")),
    };
    Ok(match (value, ty) {
        (Val::Bool(value), Ty::Bool) => Value::Bool(value),
        (Val::S8(number), Ty::S8) => Value::S8(number),
        (Val::U8(number), Ty::U8) => Value::U8(number),
        (Val::S16(number), Ty::S16) => Value::S16(number),
        (Val::U16(number), Ty::U16) => Value::U16(number),
        (Val::S32(number), Ty::S32) => Value::S32(number),
        (Val::U32(number), Ty::U32) => Value::U32(number),
        (Val::S64(number), Ty::S64) => Value::S64(number),
        (Val::U64(number), Ty::U64) => Value::U64(number),
        (Val::Float32(number), Ty::F32) => Value::F32(number),
        (Val::Float64(number), Ty::F64) => Value::F64(number),
        (Val::Char(scalar), Ty::Char) => Value::Char(scalar),
        (Val::String(text), Ty::String) => Value::String(text),
        (Val::List(items), Ty::List(item)) => list(items, item)?,
        (Val::Tuple(items), Ty::Tuple(types)) if items.len() == types.len() => {
            let values = items.into_iter().zip(types).map(|(value, ty)| from_val(value, ty));
            Value::Tuple(values.collect::<Result<_, _>>()?)
        }
        (Val::Record(items), Ty::Record(fields)) if items.len() == fields.len() => {
            let values = items.into_iter().zip(fields).map(|((_, value), field)| from_val(value, &field.ty));
            Value::Record(values.collect::<Result<_, _>>()?)
        }
        (Val::Variant(name, payload), Ty::Variant(cases)) => {
            let position = cases.iter().position(|case| case.name == name).ok_or_else(|| unfit("variant"))?;
            Value::Variant(position as u32, boxed(payload, cases[position].ty.as_ref())?)
        }
        (Val::Enum(name), Ty::Enum(names)) => Value::Enum(position(&name, names)?),
        (Val::Flags(set), Ty::Flags(names)) => {
            let mut set: Vec<u32> = set.iter().map(|name| position(name, names)).collect::<Result<_, _>>()?;
            set.sort_unstable();
            Value::Flags(set)
        }
        (Val::Option(value), Ty::Option(item)) => {
            Value::Option(value.map(|value| from_val(*value, item).map(Box::new)).transpose()?)
        }
        (Val::Result(Ok(payload)), Ty::Result(ok, _)) => Value::Result(Ok(boxed(payload, ok.as_deref())?)),
        (Val::Result(Err(payload)), Ty::Result(_, err)) => Value::Result(Err(boxed(payload, err.as_deref())?)),
        _ => return Err(unfit("value")),
    })
}

fn position(name: &str, names: &[String]) -> Result<u32, ValueError> {
    names.iter().position(|known| known == name).map(|position| position as u32).ok_or_else(|| unfit("name"))
}

fn unfit(what: &str) -> ValueError {
    ValueError::new(format!("the {what} is not of its type"))
}

/// The engine's name of a number's variant.
macro_rules! val_of {
    (F32) => {
        Val::Float32
    };
    (F64) => {
        Val::Float64
    };
    ($kind:ident) => {
        Val::$kind
    };
}

fn spread(numbers: Numbers) -> Vec<Val> {
    macro_rules! by_kind {
        ($($kind:ident: $rust:ty),*) => {
            match numbers {
                $(Numbers::$kind(numbers) => numbers.into_iter().map(val_of!($kind)).collect(),)*
            }
        };
    }
    for_each_number!(by_kind)
}

fn list(items: Vec<Val>, item: &Ty) -> Result<Value, ValueError> {
    macro_rules! gather {
        ($($pattern:tt)+) => {
            items
                .into_iter()
                .map(|value| match value {
                    $($pattern)+(number) => Ok(number),
                    _ => Err(unfit("element")),
                })
                .collect::<Result<Vec<_>, _>>()?
        };
    }
    Ok(match item {
        Ty::U8 => Value::Bytes(gather!(Val::U8)),
        Ty::S8 => Value::Numbers(Numbers::S8(gather!(Val::S8))),
        Ty::S16 => Value::Numbers(Numbers::S16(gather!(Val::S16))),
        Ty::U16 => Value::Numbers(Numbers::U16(gather!(Val::U16))),
        Ty::S32 => Value::Numbers(Numbers::S32(gather!(Val::S32))),
        Ty::U32 => Value::Numbers(Numbers::U32(gather!(Val::U32))),
        Ty::S64 => Value::Numbers(Numbers::S64(gather!(Val::S64))),
        Ty::U64 => Value::Numbers(Numbers::U64(gather!(Val::U64))),
        Ty::F32 => Value::Numbers(Numbers::F32(gather!(Val::Float32))),
        Ty::F64 => Value::Numbers(Numbers::F64(gather!(Val::Float64))),
        _ => Value::List(items.into_iter().map(|value| from_val(value, item)).collect::<Result<_, _>>()?),
    })
}
