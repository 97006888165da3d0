//! Items to arguments: how an item is spread over a function's parameters,
//! beside those that `--with` fixes.

use super::cells;
use super::json::{self, Reader};
use super::names;
use super::packed::Packed;
use super::ty::{Field, Ty};
use super::{Value, ValueError};
use crate::wire::message::{ItemForm, Spread};

/// How the items of a pool become the arguments of one function; made once.
#[derive(Clone, Debug)]
pub struct Plan {
    params: Vec<Field>,
    /// What `--with` gives for each parameter.
    fixed: Vec<Option<Value>>,
    /// Positions of the parameters that items give.
    open: Vec<usize>,
    /// The item is the one open parameter.
    whole: bool,
    ignore_unknown_fields: bool,
}

impl Plan {
    /// Plans calls of a function with these parameters. `with` holds names and
    /// JSON texts.
    ///
    /// # Errors
    /// A `with` that names no parameter or does not fit its type; under
    /// [`Spread::One`], a function that leaves not exactly one parameter open.
    pub fn new(
        params: &[Field],
        spread: Spread,
        with: &[(String, String)],
        ignore_unknown_fields: bool,
    ) -> Result<Self, ValueError> {
        let names = params.iter().map(|field| field.name.as_str());
        let mut fixed: Vec<Option<Value>> = vec![None; params.len()];
        for (name, text) in with {
            let position = names::find(name, names.clone());
            let position = position.ok_or_else(|| names::unknown("parameter", name, names.clone()))?;
            if fixed[position].is_some() {
                return Err(ValueError::new(format!("--with fixes {name:?} twice")));
            }
            let value = json::read(text.as_bytes(), &params[position].ty);
            fixed[position] = Some(value.map_err(|error| ValueError {
                message: format!("--with {name}: {}", error.message),
                path: error.path,
            })?);
        }
        let open: Vec<usize> = (0..params.len()).filter(|position| fixed[*position].is_none()).collect();
        let whole = match spread {
            Spread::One => true,
            Spread::Star => false,
            Spread::Auto => open.len() == 1,
        };
        let plan = Self { params: params.to_vec(), fixed, open, whole, ignore_unknown_fields };
        if whole && plan.open.len() != 1 {
            let message = format!("the function takes {}, and each item gives one", plan.open_parameters());
            return Err(ValueError::new(match plan.open.len() {
                0 => message,
                _ => message + "; use --starmap, or fix the others with --with",
            }));
        }
        Ok(plan)
    }

    fn open_parameters(&self) -> String {
        let names = self.open.iter().map(|position| self.params[*position].name.as_str());
        match self.open.len() {
            0 => "no parameters".to_owned(),
            1 => format!("1 parameter ({})", names::list(names)),
            count => format!("{count} parameters ({})", names::list(names)),
        }
    }

    /// The type of the one parameter that an item gives as a whole, where it
    /// does and nothing else is passed: such items need no [`Value`].
    #[must_use]
    pub fn sole(&self) -> Option<&Ty> {
        match self.params.as_slice() {
            [field] if self.whole && self.open.len() == 1 => Some(&field.ty),
            _ => None,
        }
    }

    /// The arguments that an item gives, packed, in the function's order.
    ///
    /// # Errors
    /// As [`Self::arguments`].
    pub fn pack<'i>(&self, item: &'i [u8], form: ItemForm) -> Result<Packed<'i>, ValueError> {
        let packed = match (form, self.sole()) {
            (ItemForm::Json, Some(ty)) => json::pack(item, ty, self.ignore_unknown_fields),
            (ItemForm::Raw, Some(ty)) => raw_packed(item, ty),
            (ItemForm::Json, None) if !self.whole && self.open.len() == self.params.len() => {
                json::pack_each(item, &self.params, self.ignore_unknown_fields)
            }
            _ => None,
        };
        if let Some(packed) = packed {
            return Ok(packed);
        }
        let mut packed = Packed::default();
        for (value, field) in self.arguments(item, form)?.iter().zip(&self.params) {
            packed.push(value, &field.ty)?;
        }
        Ok(packed)
    }

    /// The arguments that an item gives, in the function's order.
    ///
    /// # Errors
    /// An item that does not fit the parameters; the path is in the item.
    pub fn arguments(&self, item: &[u8], form: ItemForm) -> Result<Vec<Value>, ValueError> {
        if let (true, [position]) = (self.whole, self.open.as_slice()) {
            let value = whole(item, form, &self.params[*position].ty, self.ignore_unknown_fields)?;
            return Ok(self.complete(std::iter::once(value)));
        }
        let mut reader = Reader::new(item, self.ignore_unknown_fields);
        let values = self.spread(&mut reader, form)?;
        reader.cursor.end()?;
        Ok(values)
    }

    fn spread(&self, reader: &mut Reader<'_>, form: ItemForm) -> Result<Vec<Value>, ValueError> {
        let each = if form == ItemForm::Cells { cells::one } else { json::value };
        match reader.cursor.peek() {
            Some(b'[') => {
                let types = self.open.iter().map(|position| &self.params[*position].ty);
                let values = reader.tuple(types, &self.open_parameters(), each)?;
                Ok(self.complete(values.into_iter()))
            }
            Some(b'{') => reader.fields(&self.params, &self.fixed, each),
            Some(b'n') if self.open.is_empty() => {
                reader.cursor.literal("null")?;
                Ok(self.complete(std::iter::empty()))
            }
            _ => Err(reader.cursor.mismatch(&format!("an array or object for {}", self.open_parameters()))),
        }
    }

    /// Puts the open parameters' values, in order, among the fixed ones.
    fn complete(&self, mut values: impl Iterator<Item = Value>) -> Vec<Value> {
        let fixed = self.fixed.iter().cloned();
        fixed.filter_map(|value| value.or_else(|| values.next())).collect()
    }
}

/// Reads a whole item as one value of `ty`.
///
/// # Errors
/// An item that does not fit the type.
pub fn whole(item: &[u8], form: ItemForm, ty: &Ty, ignore_unknown_fields: bool) -> Result<Value, ValueError> {
    if form == ItemForm::Raw {
        return raw(item, ty);
    }
    let mut reader = Reader::new(item, ignore_unknown_fields);
    let value = match form {
        ItemForm::Cells => cells::row(&mut reader, ty)?,
        ItemForm::Json | ItemForm::Raw => reader.value(ty)?,
    };
    reader.cursor.end()?;
    Ok(value)
}

/// A line or a file that is passed without a copy.
fn raw_packed<'i>(item: &'i [u8], ty: &Ty) -> Option<Packed<'i>> {
    match ty {
        Ty::String => std::str::from_utf8(item).ok().map(Packed::of_text),
        ty if ty.is_bytes() => Some(Packed::of_bytes(item)),
        _ => None,
    }
}

/// A line or a file: bytes and text as they are, anything else as a cell of
/// CSV would be read.
fn raw(item: &[u8], ty: &Ty) -> Result<Value, ValueError> {
    if ty.is_bytes() {
        return Ok(Value::Bytes(item.to_vec()));
    }
    let text = std::str::from_utf8(item)
        .map_err(|error| ValueError::new(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    cells::cell(text, ty)
}
