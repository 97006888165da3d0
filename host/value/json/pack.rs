//! JSON text straight into [`Packed`] values, for text that is as most
//! programs write it: fields in the order of the type, whole numbers without a
//! point. Any other value is read by the general [`Reader`], and where
//! something does not fit this gives up, so that only the reader words errors.

use crate::value::packed::{Packed, number_size};
use crate::value::ty::{Case, Field, Ty};
use crate::value::{Value, number};

use super::read::Reader;

/// The packed value of a whole text; `None` if it does not fit, or anything
/// is wrong with it.
#[must_use]
pub fn pack(text: &[u8], ty: &Ty, ignore_unknown_fields: bool) -> Option<Packed<'static>> {
    let mut packer = Packer::new(text, ignore_unknown_fields);
    packer.value(ty)?;
    packer.finish()
}

/// The packed values of an array or object that gives one value for each
/// field; `None` as for [`pack`], and where the order is another.
#[must_use]
pub fn pack_each(text: &[u8], fields: &[Field], ignore_unknown_fields: bool) -> Option<Packed<'static>> {
    let mut packer = Packer::new(text, ignore_unknown_fields);
    match packer.reader.cursor.peek()? {
        b'[' => packer.tuple(fields.iter().map(|field| &field.ty))?,
        b'{' => packer.record(fields)?,
        _ => return None,
    }
    packer.finish()
}

/// So much is taken at once, for items of a few fields.
const FEW_WORDS: usize = 32;
const FEW_BYTES: usize = 256;

struct Packer<'a> {
    reader: Reader<'a>,
    out: Packed<'static>,
    /// The text does not fit: nobody up the stack need try again.
    failed: bool,
}

impl<'a> Packer<'a> {
    fn new(text: &'a [u8], ignore_unknown_fields: bool) -> Self {
        let mut out = Packed::default();
        // Most of an item is text, or numbers that take as much.
        out.words.reserve(FEW_WORDS);
        out.text.to_mut().reserve(text.len().min(FEW_BYTES));
        Self { reader: Reader::checked(text, ignore_unknown_fields), out, failed: false }
    }

    fn finish(mut self) -> Option<Packed<'static>> {
        self.reader.cursor.end().ok()?;
        Some(self.out)
    }

    fn value(&mut self, ty: &Ty) -> Option<()> {
        match ty {
            Ty::Bool | Ty::Char | Ty::F32 | Ty::I32 | Ty::I64 | Ty::Flags(_) | Ty::Unsupported(_) => self.general(ty),
            Ty::S8 => self.integer(ty, i8::MIN.into(), i8::MAX.into()),
            Ty::U8 => self.integer(ty, 0, u8::MAX.into()),
            Ty::S16 => self.integer(ty, i16::MIN.into(), i16::MAX.into()),
            Ty::U16 => self.integer(ty, 0, u16::MAX.into()),
            Ty::S32 => self.integer(ty, i32::MIN.into(), i32::MAX.into()),
            Ty::U32 => self.integer(ty, 0, u32::MAX.into()),
            Ty::S64 => self.integer(ty, i64::MIN, i64::MAX),
            Ty::U64 => self.integer(ty, 0, i64::MAX),
            Ty::F64 => self.float(ty),
            Ty::String => {
                self.starts_with(b'"')?;
                let text = self.reader.cursor.string().ok()?;
                self.out.push_text(&text);
                Some(())
            }
            Ty::Enum(names) => self.enumeration(names, ty),
            Ty::List(_) | Ty::Record(_) | Ty::Tuple(_) | Ty::Variant(_) | Ty::Option(_) | Ty::Result(..) => {
                let level = self.reader.enter().ok()?;
                let done = self.nested(ty);
                self.reader.leave(level);
                done
            }
        }
    }

    fn nested(&mut self, ty: &Ty) -> Option<()> {
        match ty {
            Ty::List(item) => match number_size(item) {
                Some(_) => self.numbers(item, ty),
                None => self.list(item),
            },
            Ty::Tuple(types) => self.tuple(types.iter()),
            Ty::Option(item) if !matches!(**item, Ty::Option(_)) => {
                if self.reader.cursor.peek() == Some(b'n') {
                    self.reader.cursor.literal("null").ok()?;
                    self.out.words.push(0);
                    return Some(());
                }
                self.out.words.push(1);
                self.value(item)
            }
            Ty::Record(fields) => self.or_general(ty, |packer| packer.record(fields)),
            Ty::Variant(cases) => self.or_general(ty, |packer| packer.variant(cases)),
            Ty::Result(ok, err) => self.or_general(ty, |packer| packer.result(ok.as_deref(), err.as_deref())),
            _ => self.general_nested(ty),
        }
    }

    /// Reads a value by `usual`, or, where it is another than the usual, again
    /// by the general reader.
    fn or_general(&mut self, ty: &Ty, usual: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let (mark, place) = (self.out.mark(), self.reader.cursor.clone());
        if usual(self).is_some() {
            return Some(());
        }
        self.out.rewind(mark);
        self.reader.cursor = place;
        self.general_nested(ty)
    }

    /// Goes on only where `byte` comes next: anything else does not fit.
    fn starts_with(&mut self, byte: u8) -> Option<()> {
        (self.reader.cursor.peek() == Some(byte)).then_some(())
    }

    fn general(&mut self, ty: &Ty) -> Option<()> {
        let value = self.reader.value(ty);
        self.keep(value.ok(), ty)
    }

    /// [`Self::general`] of a value whose level was entered.
    fn general_nested(&mut self, ty: &Ty) -> Option<()> {
        if self.failed {
            return None;
        }
        let value = self.reader.inside(ty);
        self.keep(value.ok(), ty)
    }

    fn keep(&mut self, value: Option<Value>, ty: &Ty) -> Option<()> {
        let kept = value.and_then(|value| self.out.push(&value, ty).ok());
        self.failed |= kept.is_none();
        kept
    }

    fn integer(&mut self, ty: &Ty, least: i64, most: i64) -> Option<()> {
        match self.reader.cursor.short_integer() {
            Some(number) if (least..=most).contains(&number) => {
                self.out.words.push(number.cast_unsigned());
                Some(())
            }
            Some(_) => None,
            None => self.general(ty),
        }
    }

    fn float(&mut self, ty: &Ty) -> Option<()> {
        match self.reader.cursor.peek()? {
            b'-' | b'0'..=b'9' => {
                let number = number::float(self.reader.cursor.number().ok()?)?;
                self.out.words.push(number.to_bits());
                Some(())
            }
            _ => self.general(ty),
        }
    }

    fn enumeration(&mut self, names: &[String], ty: &Ty) -> Option<()> {
        match names.iter().position(|name| self.reader.cursor.take_string(name)) {
            Some(position) => {
                self.out.words.push(position as u64);
                Some(())
            }
            None => self.general(ty),
        }
    }

    fn numbers(&mut self, item: &Ty, ty: &Ty) -> Option<()> {
        if self.reader.cursor.peek() != Some(b'[') {
            return self.general_nested(ty);
        }
        match item {
            Ty::S8 => self.integers(item, |number| i8::try_from(number).ok().map(i8::to_le_bytes)),
            Ty::U8 => self.integers(item, |number| u8::try_from(number).ok().map(u8::to_le_bytes)),
            Ty::S16 => self.integers(item, |number| i16::try_from(number).ok().map(i16::to_le_bytes)),
            Ty::U16 => self.integers(item, |number| u16::try_from(number).ok().map(u16::to_le_bytes)),
            Ty::S32 => self.integers(item, |number| i32::try_from(number).ok().map(i32::to_le_bytes)),
            Ty::U32 => self.integers(item, |number| u32::try_from(number).ok().map(u32::to_le_bytes)),
            Ty::S64 => self.integers(item, |number| Some(number.to_le_bytes())),
            Ty::U64 => self.integers(item, |number| u64::try_from(number).ok().map(u64::to_le_bytes)),
            _ => self.floats(item),
        }
    }

    fn integers<const SIZE: usize>(&mut self, item: &Ty, bytes_of: impl Fn(i64) -> Option<[u8; SIZE]>) -> Option<()> {
        self.bytes_of_each(|packer, bytes| match packer.reader.cursor.short_integer() {
            Some(number) => {
                bytes.extend_from_slice(&bytes_of(number)?);
                Some(())
            }
            None => packer.number(item, bytes),
        })
    }

    fn floats(&mut self, item: &Ty) -> Option<()> {
        self.bytes_of_each(|packer, bytes| match packer.reader.cursor.peek()? {
            b'-' | b'0'..=b'9' if *item == Ty::F64 => {
                bytes.extend_from_slice(&number::float(packer.reader.cursor.number().ok()?)?.to_le_bytes());
                Some(())
            }
            _ => packer.number(item, bytes),
        })
    }

    /// Reads any number by the general reader.
    fn number(&mut self, item: &Ty, bytes: &mut Vec<u8>) -> Option<()> {
        match self.reader.value(item).ok()? {
            Value::S8(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::U8(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::S16(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::U16(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::S32(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::U32(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::S64(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::U64(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::F32(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            Value::F64(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            _ => return None,
        }
        Some(())
    }

    fn bytes_of_each(&mut self, mut element: impl FnMut(&mut Self, &mut Vec<u8>) -> Option<()>) -> Option<()> {
        let mut bytes = std::mem::take(&mut self.out.bytes).into_owned();
        let count = self.each(|packer| element(packer, &mut bytes));
        self.out.bytes = bytes.into();
        self.out.words.push(count? as u64);
        Some(())
    }

    fn list(&mut self, item: &Ty) -> Option<()> {
        self.starts_with(b'[')?;
        let length = self.out.words.len();
        self.out.words.push(0);
        let count = self.each(|packer| packer.value(item))?;
        self.out.words[length] = count as u64;
        Some(())
    }

    /// Passes over an array; how many elements it has.
    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<usize> {
        let mut count = 0;
        self.reader.cursor.expect(b'[').ok()?;
        if self.reader.cursor.take(b']') {
            return Some(0);
        }
        loop {
            element(self)?;
            count += 1;
            match self.reader.cursor.next()? {
                b',' => {}
                b']' => return Some(count),
                _ => return None,
            }
        }
    }

    fn tuple<'t>(&mut self, mut types: impl ExactSizeIterator<Item = &'t Ty>) -> Option<()> {
        self.starts_with(b'[')?;
        let length = types.len();
        let count = self.each(|packer| packer.value(types.next()?))?;
        (count == length).then_some(())
    }

    /// Reads an object with the fields in this order; options may be absent.
    fn record(&mut self, fields: &[Field]) -> Option<()> {
        let mut fields = fields.iter();
        self.starts_with(b'{')?;
        self.reader.cursor.expect(b'{').ok()?;
        if !self.reader.cursor.take(b'}') {
            loop {
                let field = fields.find_map(|field| {
                    if self.reader.cursor.take_string(&field.name) {
                        return Some(Some(field));
                    }
                    if let Ty::Option(_) = field.ty {
                        self.out.words.push(0);
                        return None;
                    }
                    Some(None)
                })??;
                self.reader.cursor.expect(b':').ok()?;
                self.value(&field.ty)?;
                match self.reader.cursor.next()? {
                    b',' => {}
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        for field in fields {
            let Ty::Option(_) = field.ty else { return None };
            self.out.words.push(0);
        }
        Some(())
    }

    /// Reads an object with a tag, then perhaps a value.
    fn variant(&mut self, cases: &[Case]) -> Option<()> {
        self.key(b'{', "tag")?;
        let position = cases.iter().position(|case| self.reader.cursor.take_string(&case.name))?;
        self.out.words.push(position as u64);
        let cursor = &mut self.reader.cursor;
        match &cases[position].ty {
            None => {}
            Some(Ty::Option(_)) if cursor.peek() == Some(b'}') => self.out.words.push(0),
            Some(ty) => {
                self.key(b',', "val")?;
                self.value(ty)?;
            }
        }
        self.closed()
    }

    /// Reads an object with one of two keys.
    fn result(&mut self, ok: Option<&Ty>, err: Option<&Ty>) -> Option<()> {
        let cursor = &mut self.reader.cursor;
        let opened = cursor.take(b'{');
        let (side, payload) = match opened {
            true if cursor.take_string("ok") => (0, ok),
            true if cursor.take_string("err") => (1, err),
            _ => return None,
        };
        cursor.expect(b':').ok()?;
        self.out.words.push(side);
        match payload {
            Some(ty) => self.value(ty)?,
            None => self.reader.cursor.literal("null").ok()?,
        }
        self.closed()
    }

    /// Passes over `mark`, the key and its colon.
    fn key(&mut self, mark: u8, name: &str) -> Option<()> {
        let cursor = &mut self.reader.cursor;
        (cursor.take(mark) && cursor.take_string(name) && cursor.take(b':')).then_some(())
    }

    /// Passes over the end of an object.
    fn closed(&mut self) -> Option<()> {
        self.reader.cursor.take(b'}').then_some(())
    }
}
