//! Texts that carry no type of their own, read by the type they are for: the
//! cells of CSV, and lines.

use super::json::{self, Reader};
use super::ty::Ty;
use super::{Value, ValueError, number};

/// Reads a cell as `ty`. An empty cell is none for an option and `""` for a
/// string; lists, records and the like are given as JSON text.
///
/// # Errors
/// A cell that does not fit the type.
pub fn cell(text: &str, ty: &Ty) -> Result<Value, ValueError> {
    let trimmed = text.trim_ascii();
    match ty {
        Ty::String => Ok(Value::String(text.to_owned())),
        Ty::Option(_) if trimmed.is_empty() => Ok(Value::Option(None)),
        Ty::Option(item) => Ok(Value::Option(Some(Box::new(cell(text, item)?)))),
        Ty::Char => json::character(text),
        _ if trimmed.is_empty() => Err(ValueError::new(format!("an empty cell does not fit {ty}"))),
        Ty::Enum(names) => json::enumeration(trimmed, names),
        Ty::Bool if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Ty::Bool if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Ty::F32 | Ty::F64 if number::float_word(trimmed).is_some() => {
            json::read(format!("\"{trimmed}\"").as_bytes(), ty)
        }
        Ty::Bool | Ty::F32 | Ty::F64 => json::read(trimmed.as_bytes(), ty).map_err(|_| unfit(trimmed, ty)),
        Ty::S8 | Ty::U8 | Ty::S16 | Ty::U16 | Ty::S32 | Ty::U32 | Ty::S64 | Ty::U64 | Ty::I32 | Ty::I64 => {
            let digits = trimmed.strip_prefix('-').unwrap_or(trimmed);
            // Leading zeros are common in tables, and no JSON.
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return number::read(trimmed, ty);
            }
            json::validate(trimmed.as_bytes()).map_err(|_| unfit(trimmed, ty))?;
            json::read(trimmed.as_bytes(), ty)
        }
        Ty::List(_)
        | Ty::Record(_)
        | Ty::Tuple(_)
        | Ty::Variant(_)
        | Ty::Result(..)
        | Ty::Flags(_)
        | Ty::Unsupported(_) => json::read(trimmed.as_bytes(), ty),
    }
}

fn unfit(text: &str, ty: &Ty) -> ValueError {
    ValueError::new(format!("{:?} does not fit {ty}", number::shorten(text)))
}

/// Reads an object or array of cells as one parameter of type `ty`: fields of
/// a record by name or position, elements of a tuple; for any other type the
/// only cell there is.
pub(super) fn row(reader: &mut Reader<'_>, ty: &Ty) -> Result<Value, ValueError> {
    match (reader.cursor.peek(), ty) {
        (Some(b'{'), Ty::Record(fields)) => reader.fields(fields, &[], one).map(Value::Record),
        (Some(b'['), Ty::Record(fields)) => {
            reader.tuple(fields.iter().map(|field| &field.ty), ty, one).map(Value::Record)
        }
        (Some(b'['), Ty::Tuple(types)) => reader.tuple(types.iter(), ty, one).map(Value::Tuple),
        (Some(b'{' | b'['), _) => single(reader, ty),
        _ => Err(reader.cursor.mismatch("a row of cells")),
    }
}

/// Reads the cell that comes next.
pub(super) fn one(reader: &mut Reader<'_>, ty: &Ty) -> Result<Value, ValueError> {
    match reader.cursor.peek() {
        Some(b'"') => cell(&reader.cursor.string()?, ty),
        _ => Err(reader.cursor.mismatch("a cell")),
    }
}

fn single(reader: &mut Reader<'_>, ty: &Ty) -> Result<Value, ValueError> {
    let mut value = None;
    let mut count = 0;
    let mut take = |reader: &mut Reader<'_>| {
        count += 1;
        if count == 1 {
            value = Some(one(reader, ty)?);
        } else {
            drop(reader.cursor.string()?);
        }
        Ok::<(), ValueError>(())
    };
    if reader.cursor.peek() == Some(b'{') {
        reader.members("a row", |reader, name| take(reader).map_err(|error| error.in_field(name)))?;
    } else {
        reader.elements("a row", |reader, _| take(reader))?;
    }
    match value {
        Some(value) if count == 1 => Ok(value),
        _ => Err(ValueError::new(format!("expected one column for {ty}, found {count}; --starmap spreads columns"))),
    }
}
