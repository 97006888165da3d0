//! Reads a result that is bytes: as bytes, as a sequence of numbers, as text.

use serde::de::value::SeqDeserializer;
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// A result's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BytesReader<'a>(pub(super) &'a [u8]);

impl BytesReader<'_> {
    fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(self.0).map_err(|error| {
            serde::de::Error::custom(format_args!("the bytes are no text: not UTF-8 at byte {}", error.valid_up_to()))
        })
    }
}

impl<'de> Deserializer<'de> for BytesReader<'_> {
    type Error = Error;

    /// As JSON has it: a list of numbers.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().copied()))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.0.to_vec())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    /// serde_json's raw values are newtypes that only its own readers know.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name.starts_with("$serde_json::") {
            return Value::from(self.0).into_deserializer().deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
