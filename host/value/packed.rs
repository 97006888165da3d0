//! Values in one piece: what a value of a known type holds, in the order of
//! the type, without a tag or an allocation for each element. This is how
//! values pass between JSON text and a guest's memory; [`Value`] is for what
//! is looked at by people's rules (cells, `--with`), not by the million.
//!
//! A number, a boolean and a character is one word; a string its length, and
//! its bytes among all texts; a list its length, and its elements; a record or
//! tuple its parts; a variant, option or result its case, and the payload;
//! flags a word for each 32 of them. Elements of a list of numbers are bytes,
//! little-endian as in a guest's memory.

use std::borrow::Cow;

use crate::value::ty::Ty;
use crate::value::{Numbers, Value, ValueError, for_each_number};

/// One value, or several in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Numbers, lengths, cases.
    pub words: Vec<u64>,
    /// All strings, one after the other.
    pub text: Cow<'a, str>,
    /// The elements of all lists of numbers.
    pub bytes: Cow<'a, [u8]>,
}

/// How far a [`Packed`] was filled.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    words: usize,
    text: usize,
    bytes: usize,
}

/// The size of an element of a list that is held as bytes.
#[must_use]
pub fn number_size(item: &Ty) -> Option<usize> {
    match item {
        Ty::S8 | Ty::U8 => Some(1),
        Ty::S16 | Ty::U16 => Some(2),
        Ty::S32 | Ty::U32 | Ty::F32 => Some(4),
        Ty::S64 | Ty::U64 | Ty::F64 => Some(8),
        _ => None,
    }
}

impl<'a> Packed<'a> {
    /// A `string`.
    #[must_use]
    pub fn of_text(text: &'a str) -> Self {
        Self { words: vec![text.len() as u64], text: text.into(), bytes: Cow::default() }
    }

    /// A `list<u8>`.
    #[must_use]
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { words: vec![bytes.len() as u64], text: Cow::default(), bytes: bytes.into() }
    }

    /// How far this is filled.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { words: self.words.len(), text: self.text.len(), bytes: self.bytes.len() }
    }

    /// Forgets what came after `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.words.truncate(mark.words);
        self.text.to_mut().truncate(mark.text);
        self.bytes.to_mut().truncate(mark.bytes);
    }

    /// Adds a string.
    pub fn push_text(&mut self, text: &str) {
        self.words.push(text.len() as u64);
        self.text.to_mut().push_str(text);
    }

    /// Adds a list of numbers: how many, and their bytes.
    pub fn push_numbers(&mut self, count: usize, bytes: &[u8]) {
        self.words.push(count as u64);
        self.bytes.to_mut().extend_from_slice(bytes);
    }

    /// Adds the names of a set of flags, given by their positions.
    pub fn push_flags(&mut self, set: &[u32], names: usize) {
        let first = self.words.len();
        self.words.resize(first + names.div_ceil(32), 0);
        for position in set {
            if let Some(word) = self.words.get_mut(first + *position as usize / 32) {
                *word |= 1 << (position % 32);
            }
        }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// A value that is not of `ty`.
    pub fn push(&mut self, value: &Value, ty: &Ty) -> Result<(), ValueError> {
        match (value, ty) {
            (Value::String(text), Ty::String) => self.push_text(text),
            (Value::Bytes(bytes), ty) if ty.is_bytes() => self.push_numbers(bytes.len(), bytes),
            (Value::Numbers(numbers), Ty::List(item)) => self.push_list(numbers, item)?,
            (Value::List(items), Ty::List(item)) if number_size(item).is_none() => {
                self.words.push(items.len() as u64);
                items.iter().try_for_each(|value| self.push(value, item))?;
            }
            (Value::Tuple(items), Ty::Tuple(types)) if items.len() == types.len() => {
                items.iter().zip(types).try_for_each(|(value, ty)| self.push(value, ty))?;
            }
            (Value::Record(items), Ty::Record(fields)) if items.len() == fields.len() => {
                let mut fields = items.iter().zip(fields);
                fields.try_for_each(|(value, field)| self.push(value, &field.ty))?;
            }
            (Value::Enum(position), Ty::Enum(names)) if (*position as usize) < names.len() => {
                self.words.push(u64::from(*position));
            }
            (Value::Flags(set), Ty::Flags(names)) if set.iter().all(|flag| (*flag as usize) < names.len()) => {
                self.push_flags(set, names.len());
            }
            (Value::Variant(position, payload), Ty::Variant(cases)) => {
                let case = cases.get(*position as usize).ok_or_else(|| unfit(ty))?;
                self.push_case(*position, payload.as_deref(), case.ty.as_ref(), ty)?;
            }
            (Value::Option(None), Ty::Option(_)) => self.words.push(0),
            (Value::Option(value), Ty::Option(item)) => self.push_case(1, value.as_deref(), Some(item), ty)?,
            (Value::Result(Ok(payload)), Ty::Result(ok, _)) => {
                self.push_case(0, payload.as_deref(), ok.as_deref(), ty)?;
            }
            (Value::Result(Err(payload)), Ty::Result(_, err)) => {
                self.push_case(1, payload.as_deref(), err.as_deref(), ty)?;
            }
            _ => self.words.push(word(value, ty).ok_or_else(|| unfit(ty))?),
        }
        Ok(())
    }

    fn push_case(
        &mut self,
        position: u32,
        payload: Option<&Value>,
        inner: Option<&Ty>,
        whole: &Ty,
    ) -> Result<(), ValueError> {
        self.words.push(u64::from(position));
        match (payload, inner) {
            (None, None) => Ok(()),
            (Some(value), Some(ty)) => self.push(value, ty),
            _ => Err(unfit(whole)),
        }
    }

    fn push_list(&mut self, numbers: &Numbers, item: &Ty) -> Result<(), ValueError> {
        self.words.push(numbers.len() as u64);
        let bytes = self.bytes.to_mut();
        macro_rules! by_kind {
            ($($kind:ident: $rust:ty),*) => {
                match (numbers, item) {
                    $((Numbers::$kind(numbers), Ty::$kind) => {
                        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
                        Ok(())
                    })*
                    _ => Err(unfit(item)),
                }
            };
        }
        for_each_number!(by_kind)
    }
}

/// The word of a value that is one.
fn word(value: &Value, ty: &Ty) -> Option<u64> {
    Some(match (value, ty) {
        (Value::Bool(value), Ty::Bool) => u64::from(*value),
        (Value::S8(number), Ty::S8) => i64::from(*number).cast_unsigned(),
        (Value::U8(number), Ty::U8) => u64::from(*number),
        (Value::S16(number), Ty::S16) => i64::from(*number).cast_unsigned(),
        (Value::U16(number), Ty::U16) => u64::from(*number),
        (Value::S32(number), Ty::S32 | Ty::I32) => i64::from(*number).cast_unsigned(),
        (Value::U32(number), Ty::U32) => u64::from(*number),
        (Value::S64(number), Ty::S64 | Ty::I64) => number.cast_unsigned(),
        (Value::U64(number), Ty::U64) => *number,
        (Value::F32(number), Ty::F32) => u64::from(number.to_bits()),
        (Value::F64(number), Ty::F64) => number.to_bits(),
        (Value::Char(scalar), Ty::Char) => u64::from(u32::from(*scalar)),
        _ => return None,
    })
}

fn unfit(ty: &Ty) -> ValueError {
    ValueError::new(format!("the value is not a {ty}"))
}

/// Reads a [`Packed`] from its beginning.
#[derive(Clone, Debug)]
pub struct Unpacker<'p> {
    words: &'p [u64],
    text: &'p str,
    bytes: &'p [u8],
}

impl<'p> Unpacker<'p> {
    /// At the beginning of `packed`.
    #[must_use]
    pub fn new(packed: &'p Packed<'_>) -> Self {
        Self { words: &packed.words, text: &packed.text, bytes: &packed.bytes }
    }

    /// The next word.
    #[inline]
    pub fn word(&mut self) -> Option<u64> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(*first)
    }

    /// The next word, as a length.
    #[inline]
    pub fn length(&mut self) -> Option<usize> {
        usize::try_from(self.word()?).ok()
    }

    /// The next string.
    #[inline]
    pub fn text(&mut self) -> Option<&'p str> {
        let (text, rest) = self.text.split_at_checked(usize::try_from(self.word()?).ok()?)?;
        self.text = rest;
        Some(text)
    }

    /// The next list of numbers of `size` bytes each: their bytes.
    #[inline]
    pub fn numbers(&mut self, size: usize) -> Option<&'p [u8]> {
        let length = self.length()?.checked_mul(size)?;
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(bytes)
    }
}
