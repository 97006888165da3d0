//! Values to compact JSON text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::scan::plain;
use crate::value::packed::{Packed, Unpacker};
use crate::value::ty::{Case, Field, Ty};
use crate::value::{Value, ValueError};
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
    let mut packed = Packed::default();
    packed.push(value, ty)?;
    write_packed(&mut Unpacker::new(&packed), ty, bytes, limit, out)
}

/// Like [`write_within`], of the value that comes next.
///
/// # Errors
/// As [`write_within`].
pub fn write_packed(
    packed: &mut Unpacker<'_>,
    ty: &Ty,
    bytes: BytesAs,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let mut writer = Writer { packed, out, bytes, limit };
    writer.value(ty)?;
    writer.within_limit()
}

/// Appends text as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (easy, hard) = rest.split_at(plain(rest));
        out.extend_from_slice(easy);
        let Some((byte, after)) = hard.split_first() else { break };
        rest = after;
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
    out.push(b'"');
}

/// A number that has JSON text, and stands in a word and in bytes.
trait Number: Copy {
    fn of_word(word: u64) -> Self;
    fn put(self, out: &mut Vec<u8>);
}

macro_rules! put_integers {
    ($($rust:ty),*) => {
        $(impl Number for $rust {
            fn of_word(word: u64) -> Self {
                // The word holds it, extended.
                word as $rust
            }
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
            }
        })*
    };
}
put_integers!(i8, u8, i16, u16, i32, u32, i64, u64);

macro_rules! put_floats {
    ($($rust:ty: $bits:ty),*) => {
        $(impl Number for $rust {
            fn of_word(word: u64) -> Self {
                <$rust>::from_bits(word as $bits)
            }
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
put_floats!(f32: u32, f64: u64);

/// Appends a float as JSON.
pub fn write_f32(number: f32, out: &mut Vec<u8>) {
    number.put(out);
}

/// Appends a float as JSON.
pub fn write_f64(number: f64, out: &mut Vec<u8>) {
    number.put(out);
}

struct Writer<'o, 'u, 'p> {
    packed: &'u mut Unpacker<'p>,
    out: &'o mut Vec<u8>,
    bytes: BytesAs,
    limit: usize,
}

impl<'p> Writer<'_, '_, 'p> {
    fn within_limit(&self) -> Result<(), WriteError> {
        if self.out.len() > self.limit { Err(WriteError::TooLong(self.limit)) } else { Ok(()) }
    }

    fn value(&mut self, ty: &Ty) -> Result<(), WriteError> {
        match ty {
            Ty::Bool => {
                let value = self.word(ty)? != 0;
                self.out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Ty::S8 => self.number::<i8>(ty)?,
            Ty::U8 => self.number::<u8>(ty)?,
            Ty::S16 => self.number::<i16>(ty)?,
            Ty::U16 => self.number::<u16>(ty)?,
            Ty::S32 | Ty::I32 => self.number::<i32>(ty)?,
            Ty::U32 => self.number::<u32>(ty)?,
            Ty::S64 | Ty::I64 => self.number::<i64>(ty)?,
            Ty::U64 => self.number::<u64>(ty)?,
            Ty::F32 => self.number::<f32>(ty)?,
            Ty::F64 => self.number::<f64>(ty)?,
            Ty::Char => {
                let scalar = u32::try_from(self.word(ty)?).ok().and_then(char::from_u32).ok_or_else(|| unfit(ty))?;
                write_string(scalar.encode_utf8(&mut [0; 4]), self.out);
            }
            Ty::String => {
                let text = self.packed.text().ok_or_else(|| unfit(ty))?;
                write_string(text, self.out);
            }
            Ty::List(item) => self.list(item, ty)?,
            Ty::Tuple(types) => self.elements(types.iter())?,
            Ty::Record(fields) => self.record(fields)?,
            Ty::Enum(names) => {
                let position = self.position(ty)?;
                write_string(names.get(position).ok_or_else(|| unfit(ty))?, self.out);
            }
            Ty::Flags(names) => self.flags(names, ty)?,
            Ty::Variant(cases) => {
                let position = self.position(ty)?;
                self.variant(cases.get(position).ok_or_else(|| unfit(ty))?)?;
            }
            Ty::Option(item) => match self.word(ty)? {
                0 => self.out.extend_from_slice(b"null"),
                _ if matches!(**item, Ty::Option(_)) => self.member("some", item)?,
                _ => self.value(item)?,
            },
            Ty::Result(ok, err) => {
                let (name, payload) = if self.word(ty)? == 0 { ("ok", ok) } else { ("err", err) };
                match payload {
                    Some(payload) => self.member(name, payload)?,
                    None => {
                        self.out.push(b'{');
                        self.key(name);
                        self.out.extend_from_slice(b"null}");
                    }
                }
            }
            Ty::Unsupported(_) => return Err(unfit(ty).into()),
        }
        Ok(())
    }

    #[inline]
    fn word(&mut self, ty: &Ty) -> Result<u64, ValueError> {
        self.packed.word().ok_or_else(|| unfit(ty))
    }

    fn position(&mut self, ty: &Ty) -> Result<usize, ValueError> {
        self.packed.length().ok_or_else(|| unfit(ty))
    }

    fn number<T: Number>(&mut self, ty: &Ty) -> Result<(), ValueError> {
        T::of_word(self.word(ty)?).put(self.out);
        Ok(())
    }

    fn list(&mut self, item: &Ty, ty: &Ty) -> Result<(), WriteError> {
        match item {
            Ty::U8 if self.bytes != BytesAs::Array => self.raw(ty),
            Ty::U8 => self.array(ty, u8::from_le_bytes),
            Ty::S8 => self.array(ty, i8::from_le_bytes),
            Ty::S16 => self.array(ty, i16::from_le_bytes),
            Ty::U16 => self.array(ty, u16::from_le_bytes),
            Ty::S32 => self.array(ty, i32::from_le_bytes),
            Ty::U32 => self.array(ty, u32::from_le_bytes),
            Ty::S64 => self.array(ty, i64::from_le_bytes),
            Ty::U64 => self.array(ty, u64::from_le_bytes),
            Ty::F32 => self.array(ty, f32::from_le_bytes),
            Ty::F64 => self.array(ty, f64::from_le_bytes),
            _ => {
                let length = self.position(ty)?;
                self.elements(std::iter::repeat_n(item, length))
            }
        }
    }

    fn raw(&mut self, ty: &Ty) -> Result<(), WriteError> {
        let bytes = self.packed.numbers(1).ok_or_else(|| unfit(ty))?;
        if self.bytes == BytesAs::Utf8 {
            let text = std::str::from_utf8(bytes)
                .map_err(|error| ValueError::new(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
            write_string(text, self.out);
            return Ok(());
        }
        if self.limit.saturating_sub(self.out.len()) < bytes.len() {
            return Err(WriteError::TooLong(self.limit));
        }
        self.out.extend_from_slice(b"{\"base64\":\"");
        self.out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
        self.out.extend_from_slice(b"\"}");
        Ok(())
    }

    fn array<T: Number, const SIZE: usize>(
        &mut self,
        ty: &Ty,
        number: impl Fn([u8; SIZE]) -> T,
    ) -> Result<(), WriteError> {
        let bytes = self.packed.numbers(SIZE).ok_or_else(|| unfit(ty))?;
        let (numbers, _) = bytes.as_chunks::<SIZE>();
        // At least a digit and a comma each; the limit holds while it grows too.
        self.out.reserve(numbers.len().min(self.limit / 2).saturating_mul(2) + 2);
        self.out.push(b'[');
        for (index, bytes) in numbers.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
                self.within_limit()?;
            }
            number(*bytes).put(self.out);
        }
        self.out.push(b']');
        Ok(())
    }

    fn elements<'t>(&mut self, types: impl Iterator<Item = &'t Ty>) -> Result<(), WriteError> {
        self.out.push(b'[');
        for (index, ty) in types.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(ty).map_err(|error| error.map(|error| error.in_element(index)))?;
            self.within_limit()?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn record(&mut self, fields: &[Field]) -> Result<(), WriteError> {
        self.out.push(b'{');
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.key(&field.name);
            self.value(&field.ty).map_err(|error| error.map(|error| error.in_field(&field.name)))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// An object with one member.
    fn member(&mut self, name: &str, ty: &Ty) -> Result<(), WriteError> {
        self.out.push(b'{');
        self.key(name);
        self.value(ty).map_err(|error| error.map(|error| error.in_field(name)))?;
        self.out.push(b'}');
        Ok(())
    }

    fn key(&mut self, name: &str) {
        write_string(name, self.out);
        self.out.push(b':');
    }

    fn flags(&mut self, names: &[String], ty: &Ty) -> Result<(), ValueError> {
        self.out.push(b'[');
        let mut first = true;
        for names in names.chunks(32) {
            let set = self.word(ty)?;
            for name in names.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, name)| name) {
                if !std::mem::take(&mut first) {
                    self.out.push(b',');
                }
                write_string(name, self.out);
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn variant(&mut self, case: &Case) -> Result<(), WriteError> {
        self.out.extend_from_slice(b"{\"tag\":");
        write_string(&case.name, self.out);
        if let Some(ty) = &case.ty {
            self.out.extend_from_slice(b",\"val\":");
            self.value(ty).map_err(|error| error.map(|error| error.in_field("val")))?;
        }
        self.out.push(b'}');
        Ok(())
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
