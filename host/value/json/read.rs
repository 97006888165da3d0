//! JSON text to values, driven by the type: one pass, no tree in between.

use std::borrow::Cow;
use std::fmt::Display;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::value::lex::{Cursor, MAX_DEPTH};
use crate::value::ty::{Case, Field, Ty};
use crate::value::{Numbers, Value, ValueError, for_each_number, names, number};

/// Padding is not insisted on: encoders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads JSON text as a value of `ty`.
///
/// # Errors
/// Text that is not JSON, or does not fit the type; the path says where.
pub fn read(text: &[u8], ty: &Ty) -> Result<Value, ValueError> {
    let mut reader = Reader::new(text, false);
    let value = reader.value(ty)?;
    reader.cursor.end()?;
    Ok(value)
}

/// How the value of a field or an element is read.
pub type Each = fn(&mut Reader<'_>, &Ty) -> Result<Value, ValueError>;

/// Reads values one after the other from one text.
pub struct Reader<'a> {
    /// Where it stands.
    pub cursor: Cursor<'a>,
    ignore_unknown_fields: bool,
    depth: usize,
}

/// Reads a JSON value: an [`Each`].
pub fn value(reader: &mut Reader<'_>, ty: &Ty) -> Result<Value, ValueError> {
    reader.value(ty)
}

/// What a record has for a field that the text does not mention.
pub fn absent(field: &Field) -> Result<Value, ValueError> {
    match field.ty {
        Ty::Option(_) => Ok(Value::Option(None)),
        _ => Err(ValueError::new(format!("missing field {:?}", field.name))),
    }
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `text`.
    pub fn new(text: &'a [u8], ignore_unknown_fields: bool) -> Self {
        Self { cursor: Cursor::new(text), ignore_unknown_fields, depth: 0 }
    }

    /// Like [`Self::new`], for text of many strings: see [`Cursor::checked`].
    pub fn checked(text: &'a [u8], ignore_unknown_fields: bool) -> Self {
        Self { cursor: Cursor::checked(text), ignore_unknown_fields, depth: 0 }
    }

    /// Reads a value of `ty`.
    pub fn value(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        match ty {
            Ty::Bool => self.boolean(),
            Ty::S8 | Ty::U8 | Ty::S16 | Ty::U16 | Ty::S32 | Ty::U32 | Ty::I32 => self.narrow_integer(ty),
            Ty::S64 | Ty::U64 | Ty::I64 => self.wide_integer(ty),
            Ty::F32 | Ty::F64 => self.float(ty),
            Ty::Char => self.character(),
            Ty::String => Ok(Value::String(self.string(ty)?.into_owned())),
            Ty::Enum(names) => self.enumeration(names),
            Ty::Flags(names) => self.flags(names),
            Ty::Unsupported(name) => Err(ValueError::new(format!("{name} cannot be given as JSON"))),
            Ty::List(_) | Ty::Record(_) | Ty::Tuple(_) | Ty::Variant(_) | Ty::Option(_) | Ty::Result(..) => {
                self.nested(ty)
            }
        }
    }

    fn nested(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        let level = self.enter()?;
        let value = self.inside(ty);
        self.leave(level);
        value
    }

    /// Goes a level deeper.
    pub(super) fn enter(&mut self) -> Result<usize, ValueError> {
        if self.depth == MAX_DEPTH {
            return Err(ValueError::new(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        Ok(self.depth - 1)
    }

    /// Goes back to a level that [`Self::enter`] gave.
    pub(super) fn leave(&mut self, level: usize) {
        self.depth = level;
    }

    /// Reads a value of a nested type, whose level was entered.
    pub(super) fn inside(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        match ty {
            Ty::List(item) => self.list(item, ty),
            Ty::Record(fields) => self.fields(fields, &[], value).map(Value::Record),
            Ty::Tuple(types) => self.tuple(types.iter(), ty, value).map(Value::Tuple),
            Ty::Variant(cases) => self.variant(cases),
            Ty::Option(item) => self.option(item),
            Ty::Result(ok, err) => self.result(ok.as_deref(), err.as_deref()),
            _ => Err(ValueError::new(format!("{ty} is not nested"))),
        }
    }

    fn boolean(&mut self) -> Result<Value, ValueError> {
        match self.cursor.peek() {
            Some(b't') => self.cursor.literal("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.cursor.literal("false").map(|()| Value::Bool(false)),
            _ => Err(self.cursor.mismatch("bool")),
        }
    }

    fn narrow_integer(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        match self.cursor.peek() {
            Some(b'-' | b'0'..=b'9') => number::read(self.cursor.number()?, ty),
            _ => Err(self.cursor.mismatch(&ty.to_string())),
        }
    }

    /// Programs whose numbers are all floats send 64 bits as a string.
    fn wide_integer(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        if self.cursor.peek() != Some(b'"') {
            return self.narrow_integer(ty);
        }
        let text = self.cursor.string()?;
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ValueError::new(format!("{:?} is not a decimal {ty}", number::shorten(&text))));
        }
        number::read(&text, ty)
    }

    fn float(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        if self.cursor.peek() != Some(b'"') {
            return self.narrow_integer(ty);
        }
        let text = self.cursor.string()?;
        let special = number::float_word(&text)
            .ok_or_else(|| ValueError::new(format!("{:?} is not a {ty}", number::shorten(&text))))?;
        // The special values are the same in both widths.
        Ok(if *ty == Ty::F32 { Value::F32(special as f32) } else { Value::F64(special) })
    }

    fn string(&mut self, wanted: &Ty) -> Result<Cow<'a, str>, ValueError> {
        match self.cursor.peek() {
            Some(b'"') => self.cursor.string(),
            _ => Err(self.cursor.mismatch(&wanted.to_string())),
        }
    }

    fn character(&mut self) -> Result<Value, ValueError> {
        character(&self.string(&Ty::Char)?)
    }

    fn enumeration(&mut self, names: &[String]) -> Result<Value, ValueError> {
        match self.cursor.peek() {
            Some(b'"') => enumeration(&self.cursor.string()?, names),
            _ => Err(self.cursor.mismatch("the name of an enum case")),
        }
    }

    fn flags(&mut self, names: &[String]) -> Result<Value, ValueError> {
        let mut set = Vec::new();
        self.elements("an array of flag names", |reader, _| {
            let name = match reader.cursor.peek() {
                Some(b'"') => reader.cursor.string()?,
                _ => return Err(reader.cursor.mismatch("the name of a flag")),
            };
            let position = names::find(&name, names.iter().map(String::as_str))
                .ok_or_else(|| names::unknown("flag", &name, names.iter().map(String::as_str)))?;
            set.push(position as u32);
            Ok(())
        })?;
        set.sort_unstable();
        if let Some(twice) = set.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ValueError::new(format!("flag {:?} is given twice", names[twice[0] as usize])));
        }
        Ok(Value::Flags(set))
    }

    /// Reads an array, calling `element` at each element.
    pub fn elements(
        &mut self,
        wanted: &str,
        mut element: impl FnMut(&mut Self, usize) -> Result<(), ValueError>,
    ) -> Result<usize, ValueError> {
        if self.cursor.peek() != Some(b'[') {
            return Err(self.cursor.mismatch(wanted));
        }
        self.cursor.expect(b'[')?;
        if self.cursor.take(b']') {
            return Ok(0);
        }
        for index in 0.. {
            element(self, index).map_err(|error| error.in_element(index))?;
            if self.cursor.take(b']') {
                return Ok(index + 1);
            }
            if !self.cursor.take(b',') {
                return Err(self.cursor.unexpected("`,` or `]`"));
            }
        }
        Err(ValueError::new("endless array"))
    }

    /// Reads an object, calling `member` with each key, at its value.
    pub fn members(
        &mut self,
        wanted: &str,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), ValueError>,
    ) -> Result<(), ValueError> {
        if self.cursor.peek() != Some(b'{') {
            return Err(self.cursor.mismatch(wanted));
        }
        self.cursor.expect(b'{')?;
        if self.cursor.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.cursor.string()?;
            self.cursor.expect(b':')?;
            member(self, &key)?;
            if self.cursor.take(b'}') {
                return Ok(());
            }
            if !self.cursor.take(b',') {
                return Err(self.cursor.unexpected("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, item: &Ty, ty: &Ty) -> Result<Value, ValueError> {
        macro_rules! by_number {
            ($($kind:ident: $rust:ty),*) => {
                match item {
                    Ty::U8 => self.bytes(ty),
                    $(Ty::$kind => self.numbers(item, ty, |value| match value {
                        Value::$kind(number) => Some(number),
                        _ => None,
                    }).map(|items| Value::Numbers(Numbers::$kind(items))),)*
                    _ => {
                        let mut items = Vec::new();
                        self.elements("an array", |reader, _| {
                            items.push(reader.value(item)?);
                            Ok(())
                        })?;
                        Ok(Value::List(items))
                    }
                }
            };
        }
        for_each_number!(by_number)
    }

    fn numbers<T>(&mut self, item: &Ty, ty: &Ty, unwrap: impl Fn(Value) -> Option<T>) -> Result<Vec<T>, ValueError> {
        let mut items = Vec::new();
        let wanted = || format!("an array of {item}");
        if self.cursor.peek() != Some(b'[') {
            return Err(self.cursor.mismatch(&wanted()));
        }
        self.elements("", |reader, _| {
            items.push(unwrap(reader.value(item)?).ok_or_else(|| ValueError::new(format!("expected {ty}")))?);
            Ok(())
        })?;
        Ok(items)
    }

    fn bytes(&mut self, ty: &Ty) -> Result<Value, ValueError> {
        match self.cursor.peek() {
            Some(b'[') => self
                .numbers(&Ty::U8, ty, |value| match value {
                    Value::U8(byte) => Some(byte),
                    _ => None,
                })
                .map(Value::Bytes),
            Some(b'{') => {
                let mut bytes = None;
                self.members("", |reader, key| {
                    if key != "base64" || bytes.is_some() {
                        return Err(ValueError::new(format!("expected {{\"base64\":…}}, found the key {key:?}")));
                    }
                    let text = reader.string(&Ty::String).map_err(|error| error.in_field(key))?;
                    let decoded = BASE64.decode(text.as_bytes());
                    bytes = Some(decoded.map_err(|error| ValueError::new(error.to_string()).in_field(key))?);
                    Ok(())
                })?;
                bytes.map(Value::Bytes).ok_or_else(|| ValueError::new("expected {\"base64\":…}, found {}"))
            }
            _ => Err(self.cursor.mismatch("list<u8>, an array or {\"base64\":…}")),
        }
    }

    /// Reads an object with the keys of `fields`, but for those that `fixed`
    /// has; it may be shorter than `fields`.
    pub fn fields(&mut self, fields: &[Field], fixed: &[Option<Value>], each: Each) -> Result<Vec<Value>, ValueError> {
        let mut values: Vec<Option<Value>> = (0..fields.len()).map(|_| None).collect();
        // Writers mostly keep the type's order: look there first.
        let mut expected = 0;
        self.members("an object", |reader, key| {
            let position = match fields.get(expected) {
                Some(field) if field.name == key => Some(expected),
                _ => names::find(key, fields.iter().map(|field| field.name.as_str())),
            };
            let Some(position) = position else {
                if reader.ignore_unknown_fields {
                    return super::skip(&mut reader.cursor);
                }
                return Err(names::unknown("field", key, fields.iter().map(|field| field.name.as_str())));
            };
            let field = &fields[position];
            if values[position].is_some() {
                return Err(ValueError::new(format!("field {:?} is given twice", field.name)));
            }
            if fixed.get(position).is_some_and(Option::is_some) {
                return Err(ValueError::new(format!("{:?} is already fixed by --with", field.name)));
            }
            values[position] = Some(each(reader, &field.ty).map_err(|error| error.in_field(&field.name))?);
            expected = position + 1;
            Ok(())
        })?;
        let filled = values.into_iter().zip(fields).enumerate();
        filled
            .map(|(position, (value, field))| match value.or_else(|| fixed.get(position).cloned().flatten()) {
                Some(value) => Ok(value),
                None => absent(field),
            })
            .collect()
    }

    /// Reads an array with exactly these types; `wanted` names the whole.
    pub fn tuple<'t>(
        &mut self,
        types: impl ExactSizeIterator<Item = &'t Ty>,
        wanted: &dyn Display,
        each: Each,
    ) -> Result<Vec<Value>, ValueError> {
        let length = types.len();
        let mut types = types;
        let mut values = Vec::with_capacity(length);
        if self.cursor.peek() != Some(b'[') {
            return Err(self.cursor.mismatch(&format!("an array for {wanted}")));
        }
        let count = self.elements("", |reader, _| {
            match types.next() {
                Some(ty) => values.push(each(reader, ty)?),
                None => super::skip(&mut reader.cursor)?,
            }
            Ok(())
        })?;
        if count == length {
            return Ok(values);
        }
        Err(ValueError::new(format!("expected {length} elements for {wanted}, found {count}")))
    }

    fn variant(&mut self, cases: &[Case]) -> Result<Value, ValueError> {
        let mut tag = None;
        let mut payload = None;
        self.members("an object {\"tag\",\"val\"}", |reader, key| {
            let seen = match key {
                "tag" => tag.replace(reader.case(cases).map_err(|error| error.in_field("tag"))?).is_some(),
                // The payload's type may not be known yet: it is read below.
                "val" => {
                    let place = reader.cursor.clone();
                    super::skip(&mut reader.cursor)?;
                    payload.replace(place).is_some()
                }
                _ => return Err(names::unknown("key", key, ["tag", "val"].into_iter())),
            };
            if seen { Err(ValueError::new(format!("key {key:?} is given twice"))) } else { Ok(()) }
        })?;
        let position = tag.ok_or_else(|| ValueError::new("missing key \"tag\""))?;
        let case = &cases[position];
        let value = match (&case.ty, payload) {
            (Some(ty), Some(place)) => {
                let after = std::mem::replace(&mut self.cursor, place);
                let value = self.value(ty).map_err(|error| error.in_field("val"))?;
                self.cursor = after;
                Some(Box::new(value))
            }
            (Some(Ty::Option(_)), None) => Some(Box::new(Value::Option(None))),
            (Some(ty), None) => return Err(ValueError::new(format!("case {:?} needs a \"val\", a {ty}", case.name))),
            (None, Some(mut place)) => match place.peek() {
                Some(b'n') => None,
                _ => return Err(ValueError::new(format!("case {:?} takes no \"val\"", case.name))),
            },
            (None, None) => None,
        };
        Ok(Value::Variant(position as u32, value))
    }

    fn case(&mut self, cases: &[Case]) -> Result<usize, ValueError> {
        let name = self.string(&Ty::String)?;
        let names = cases.iter().map(|case| case.name.as_str());
        names::find(&name, names.clone()).ok_or_else(|| names::unknown("case", &name, names))
    }

    fn option(&mut self, item: &Ty) -> Result<Value, ValueError> {
        if self.cursor.peek() == Some(b'n') {
            self.cursor.literal("null")?;
            return Ok(Value::Option(None));
        }
        if !matches!(item, Ty::Option(_)) {
            return Ok(Value::Option(Some(Box::new(self.value(item)?))));
        }
        let mut some = None;
        self.members("null or {\"some\":…}", |reader, key| {
            if key != "some" || some.is_some() {
                return Err(ValueError::new(format!("expected {{\"some\":…}}, found the key {key:?}")));
            }
            some = Some(Box::new(reader.value(item).map_err(|error| error.in_field(key))?));
            Ok(())
        })?;
        match some {
            Some(value) => Ok(Value::Option(Some(value))),
            None => Err(ValueError::new("expected null or {\"some\":…}, found {}")),
        }
    }

    fn result(&mut self, ok: Option<&Ty>, err: Option<&Ty>) -> Result<Value, ValueError> {
        let mut side = None;
        self.members("an object {\"ok\":…} or {\"err\":…}", |reader, key| {
            let ty = match key {
                "ok" => ok,
                "err" => err,
                _ => return Err(names::unknown("key", key, ["ok", "err"].into_iter())),
            };
            let value = match ty {
                Some(ty) => Some(Box::new(reader.value(ty).map_err(|error| error.in_field(key))?)),
                None if reader.cursor.peek() == Some(b'n') => reader.cursor.literal("null").map(|()| None)?,
                None => return Err(reader.cursor.mismatch("null").in_field(key)),
            };
            let value = if key == "ok" { Ok(value) } else { Err(value) };
            match side.replace(value) {
                None => Ok(()),
                Some(_) => Err(ValueError::new("expected one of \"ok\" and \"err\", found two keys")),
            }
        })?;
        side.map(Value::Result).ok_or_else(|| ValueError::new("expected {\"ok\":…} or {\"err\":…}, found {}"))
    }
}

/// The one scalar of a text.
pub fn character(text: &str) -> Result<Value, ValueError> {
    let mut scalars = text.chars();
    match (scalars.next(), scalars.next()) {
        (Some(scalar), None) => Ok(Value::Char(scalar)),
        _ => Err(ValueError::new(format!("expected one character, found {:?}", number::shorten(text)))),
    }
}

/// The case that a text names.
pub fn enumeration(name: &str, names: &[String]) -> Result<Value, ValueError> {
    let names = names.iter().map(String::as_str);
    match names::find(name, names.clone()) {
        Some(position) => Ok(Value::Enum(position as u32)),
        None => Err(names::unknown("enum case", name, names)),
    }
}
