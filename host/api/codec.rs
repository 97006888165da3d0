//! Values to items and results to values, by serde.
//!
//! JSON is the common language. What serialises as bytes (`bytes::Bytes`,
//! `serde_bytes::Bytes`) is an item as it stands, and a result that is bytes
//! can be read as a `Vec<u8>` or by whatever takes bytes.

mod bytes;
mod item;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::bytes::BytesReader;
use self::item::ItemFormat;
use crate::outcome::{Failure, Form, Kind};
use crate::pool::delivery::Given;
use crate::pool::item::{Body, Item, Supply};
use crate::pool::typed;
use crate::wire::message::ItemForm;

/// A value that is an item.
pub(super) struct Typed<T> {
    pub(super) index: u64,
    pub(super) value: T,
}

impl<T: Serialize + Send> Supply for Typed<T> {
    fn index(&self) -> u64 {
        self.index
    }

    fn number(&self) -> Option<i64> {
        typed::number(&self.value)
    }

    fn pack(&self, out: &mut Vec<u8>) -> Option<ItemForm> {
        write(&self.value, out).ok()
    }

    fn into_item(self) -> Item {
        item(self.index, &self.value)
    }
}

/// Appends an item's bytes.
fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> serde_json::Result<ItemForm> {
    let mut form = ItemForm::Json;
    value.serialize(&mut serde_json::Serializer::with_formatter(out, ItemFormat::new(&mut form)))?;
    Ok(form)
}

/// A value as an item; one that cannot be written is an item that fails.
pub(super) fn item<T: Serialize + ?Sized>(index: u64, value: &T) -> Item {
    let mut bytes = Vec::new();
    let written = write(value, &mut bytes);
    let body = written.map(|form| Body { bytes: bytes.into(), form, path: None, connection: None });
    let body = body.map_err(|error| bad_input(format!("the item cannot be sent: {error}")));
    Item { index, body, tag: None }
}

fn bad_input(message: String) -> Failure {
    Failure::new(Kind::BadInput, message)
}

/// How a call's values and its fixed arguments become one object.
#[derive(Clone, Debug)]
pub(super) struct Composition {
    /// Parameters that items fill, in order.
    pub(super) open: Vec<String>,
    pub(super) fixed: Map<String, Value>,
    /// An item is one argument, not several.
    pub(super) whole: bool,
}

/// A value that becomes an object with the fixed arguments.
pub(super) struct Composed<T> {
    pub(super) index: u64,
    pub(super) value: T,
    pub(super) by: std::sync::Arc<Composition>,
}

impl<T: Serialize + Send> Supply for Composed<T> {
    fn index(&self) -> u64 {
        self.index
    }

    fn pack(&self, out: &mut Vec<u8>) -> Option<ItemForm> {
        let object = self.by.object(&self.value).ok()?;
        serde_json::to_writer(out, &object).ok().map(|()| ItemForm::Json)
    }

    fn into_item(self) -> Item {
        self.by.item(self.index, &self.value)
    }
}

impl Composition {
    /// The item that a value is with the fixed arguments.
    pub(super) fn item<T: Serialize + ?Sized>(&self, index: u64, value: &T) -> Item {
        match self.object(value) {
            Ok(object) => item(index, &object),
            Err(message) => Item { index, body: Err(bad_input(message)), tag: None },
        }
    }

    fn object<T: Serialize + ?Sized>(&self, value: &T) -> Result<Map<String, Value>, String> {
        let value = serde_json::to_value(value).map_err(|error| format!("the item cannot be sent: {error}"))?;
        let mut fields = self.fixed.clone();
        let values = match value {
            value if self.whole => vec![value],
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            Value::Object(named) => {
                if let Some(name) = named.keys().find(|name| self.fixed.contains_key(*name)) {
                    return Err(format!("argument {name:?} is given twice: by the item and by kwds"));
                }
                fields.extend(named);
                return Ok(fields);
            }
            value => vec![value],
        };
        if values.len() != self.open.len() {
            return Err(format!("{} arguments for {} parameters beside kwds", values.len(), self.open.len()));
        }
        fields.extend(self.open.iter().cloned().zip(values));
        Ok(fields)
    }
}

/// Reads a result as it came.
#[inline]
pub(super) fn read_given<R: DeserializeOwned>(given: Given<'_>) -> serde_json::Result<R> {
    match given {
        Given::Integer(number) => typed::integer(number),
        Given::Plain(form, bytes) => read(form, bytes),
    }
}

/// Reads a result.
pub(super) fn read<R: DeserializeOwned>(form: Form, bytes: &[u8]) -> serde_json::Result<R> {
    match form {
        Form::Json => typed::read(bytes),
        Form::Text => serde_json::from_value(Value::String(String::from_utf8_lossy(bytes).into_owned())),
        Form::Bytes => R::deserialize(BytesReader(bytes)),
    }
}
