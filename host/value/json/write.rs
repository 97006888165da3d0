//! Values to compact JSON text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::value::ty::Ty;
use crate::value::{Numbers, Value, ValueError};
use crate::wire::message::BytesAs;

/// Why a value was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The text would be longer than allowed.
    #[error("the result's text is longer than {0} bytes")]
    TooLong(usize),
    /// The value is not of its type, or not what `bytes` promises.
    #[error(transparent)]
    Unfit(#[from] ValueError),
}

/// Appends a value of `ty` as compact JSON.
///
/// # Errors
/// A value that is not of its type, or bytes that are no UTF-8 where
/// [`BytesAs::Utf8`] promises so.
pub fn write(value: &Value, ty: &Ty, bytes: BytesAs, out: &mut Vec<u8>) -> Result<(), ValueError> {
    match write_within(value, ty, bytes, usize::MAX, out) {
        Ok(()) => Ok(()),
        Err(WriteError::Unfit(error)) => Err(error),
        Err(WriteError::TooLong(_)) => Err(ValueError::new("the text is too long")),
    }
}

/// Like [`write()`], but gives up soon after `out` has grown over `limit`.
///
/// # Errors
/// As [`write()`], or a text over the limit.
pub fn write_within(value: &Value, ty: &Ty, bytes: BytesAs, limit: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let mut writer = Writer { out, bytes, limit };
    writer.value(value, ty)?;
    writer.within_limit()
}

/// Appends text as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !matches!(byte, b'"' | b'\\' | 0..0x20) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    bytes: BytesAs,
    limit: usize,
}

/// A number that has JSON text.
trait Number: Copy {
    fn put(self, out: &mut Vec<u8>);
}

macro_rules! put_integers {
    ($($rust:ty),*) => {
        $(impl Number for $rust {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
            }
        })*
    };
}
put_integers!(i8, u8, i16, u16, i32, u32, i64, u64);

macro_rules! put_floats {
    ($($rust:ty),*) => {
        $(impl Number for $rust {
            fn put(self, out: &mut Vec<u8>) {
                if self.is_finite() {
                    // Writing to a vector cannot fail, nor can a finite float.
                    let written = serde_json::to_writer(out, &self);
                    debug_assert!(written.is_ok());
                    return;
                }
                let word: &[u8] = match (self.is_nan(), self > 0.0) {
                    (true, _) => b"\"nan\"",
                    (false, true) => b"\"inf\"",
                    (false, false) => b"\"-inf\"",
                };
                out.extend_from_slice(word);
            }
        })*
    };
}
put_floats!(f32, f64);

impl Writer<'_> {
    fn within_limit(&self) -> Result<(), WriteError> {
        if self.out.len() > self.limit { Err(WriteError::TooLong(self.limit)) } else { Ok(()) }
    }

    fn value(&mut self, value: &Value, ty: &Ty) -> Result<(), WriteError> {
        match (value, ty) {
            (Value::Bool(value), Ty::Bool) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            (Value::S8(number), Ty::S8) => number.put(self.out),
            (Value::U8(number), Ty::U8) => number.put(self.out),
            (Value::S16(number), Ty::S16) => number.put(self.out),
            (Value::U16(number), Ty::U16) => number.put(self.out),
            (Value::S32(number), Ty::S32 | Ty::I32) => number.put(self.out),
            (Value::U32(number), Ty::U32) => number.put(self.out),
            (Value::S64(number), Ty::S64 | Ty::I64) => number.put(self.out),
            (Value::U64(number), Ty::U64) => number.put(self.out),
            (Value::F32(number), Ty::F32) => number.put(self.out),
            (Value::F64(number), Ty::F64) => number.put(self.out),
            (Value::Char(scalar), Ty::Char) => write_string(scalar.encode_utf8(&mut [0; 4]), self.out),
            (Value::String(text), Ty::String) => write_string(text, self.out),
            (Value::Bytes(bytes), ty) if ty.is_bytes() => self.raw(bytes)?,
            (Value::Numbers(numbers), Ty::List(item)) => self.numbers(numbers, item)?,
            (Value::List(items), Ty::List(item)) => self.elements(items.iter().map(|value| (value, &**item)))?,
            (Value::Tuple(items), Ty::Tuple(types)) if items.len() == types.len() => {
                self.elements(items.iter().zip(types))?;
            }
            (Value::Record(values), Ty::Record(fields)) if values.len() == fields.len() => {
                let named = values.iter().zip(fields).map(|(value, field)| (field.name.as_str(), value, &field.ty));
                self.members(named)?;
            }
            (Value::Enum(position), Ty::Enum(names)) => {
                write_string(names.get(*position as usize).ok_or_else(|| unfit(ty))?, self.out);
            }
            (Value::Flags(set), Ty::Flags(names)) => self.flags(set, names, ty)?,
            (Value::Variant(position, payload), Ty::Variant(cases)) => {
                let case = cases.get(*position as usize).ok_or_else(|| unfit(ty))?;
                self.variant(&case.name, payload.as_deref(), case.ty.as_ref())?;
            }
            (Value::Option(None), Ty::Option(_)) => self.out.extend_from_slice(b"null"),
            (Value::Option(Some(value)), Ty::Option(item)) if matches!(**item, Ty::Option(_)) => {
                self.members(std::iter::once(("some", &**value, &**item)))?;
            }
            (Value::Option(Some(value)), Ty::Option(item)) => self.value(value, item)?,
            (Value::Result(Ok(payload)), Ty::Result(ok, _)) => self.side("ok", payload.as_deref(), ok.as_deref())?,
            (Value::Result(Err(payload)), Ty::Result(_, err)) => {
                self.side("err", payload.as_deref(), err.as_deref())?
            }
            _ => return Err(unfit(ty).into()),
        }
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        match self.bytes {
            BytesAs::Array => return self.array(bytes),
            BytesAs::Base64 => {
                if self.limit.saturating_sub(self.out.len()) < bytes.len() {
                    return Err(WriteError::TooLong(self.limit));
                }
                self.out.extend_from_slice(b"{\"base64\":\"");
                self.out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
                self.out.extend_from_slice(b"\"}");
            }
            BytesAs::Utf8 => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|error| ValueError::new(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
                write_string(text, self.out);
            }
        }
        Ok(())
    }

    fn array<T: Number>(&mut self, numbers: &[T]) -> Result<(), WriteError> {
        // At least a digit and a comma each; the limit holds while it grows too.
        self.out.reserve(numbers.len().min(self.limit / 2).saturating_mul(2) + 2);
        self.out.push(b'[');
        for (index, number) in numbers.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
                self.within_limit()?;
            }
            number.put(self.out);
        }
        self.out.push(b']');
        Ok(())
    }

    fn numbers(&mut self, numbers: &Numbers, item: &Ty) -> Result<(), WriteError> {
        macro_rules! by_kind {
            ($($kind:ident: $rust:ty),*) => {
                match (numbers, item) {
                    $((Numbers::$kind(numbers), Ty::$kind) => self.array(numbers),)*
                    _ => Err(unfit(item).into()),
                }
            };
        }
        crate::value::for_each_number!(by_kind)
    }

    fn elements<'v>(&mut self, items: impl Iterator<Item = (&'v Value, &'v Ty)>) -> Result<(), WriteError> {
        self.out.push(b'[');
        for (index, (value, ty)) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(value, ty).map_err(|error| error.map(|error| error.in_element(index)))?;
            self.within_limit()?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn members<'v>(&mut self, items: impl Iterator<Item = (&'v str, &'v Value, &'v Ty)>) -> Result<(), WriteError> {
        self.out.push(b'{');
        for (index, (name, value, ty)) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.key(name);
            self.value(value, ty).map_err(|error| error.map(|error| error.in_field(name)))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn key(&mut self, name: &str) {
        write_string(name, self.out);
        self.out.push(b':');
    }

    fn flags(&mut self, set: &[u32], names: &[String], ty: &Ty) -> Result<(), WriteError> {
        self.out.push(b'[');
        for (index, position) in set.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write_string(names.get(*position as usize).ok_or_else(|| unfit(ty))?, self.out);
        }
        self.out.push(b']');
        Ok(())
    }

    fn variant(&mut self, tag: &str, payload: Option<&Value>, ty: Option<&Ty>) -> Result<(), WriteError> {
        self.out.extend_from_slice(b"{\"tag\":");
        write_string(tag, self.out);
        match (payload, ty) {
            (None, None) => {}
            (Some(value), Some(ty)) => {
                self.out.extend_from_slice(b",\"val\":");
                self.value(value, ty).map_err(|error| error.map(|error| error.in_field("val")))?;
            }
            _ => return Err(ValueError::new(format!("the payload of case {tag:?} is not of its type")).into()),
        }
        self.out.push(b'}');
        Ok(())
    }

    fn side(&mut self, name: &str, payload: Option<&Value>, ty: Option<&Ty>) -> Result<(), WriteError> {
        match (payload, ty) {
            (Some(value), Some(ty)) => self.members(std::iter::once((name, value, ty))),
            (None, None) => {
                self.out.push(b'{');
                self.key(name);
                self.out.extend_from_slice(b"null}");
                Ok(())
            }
            _ => Err(ValueError::new(format!("the payload of {name:?} is not of its type")).into()),
        }
    }
}

impl WriteError {
    fn map(self, edit: impl FnOnce(ValueError) -> ValueError) -> Self {
        match self {
            Self::Unfit(error) => Self::Unfit(edit(error)),
            Self::TooLong(limit) => Self::TooLong(limit),
        }
    }
}

fn unfit(ty: &Ty) -> ValueError {
    ValueError::new(format!("the value is not a {ty}"))
}
