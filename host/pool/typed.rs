//! Values of the caller's types from the JSON text of results. Integers, the
//! most frequent of short ones, are read without a JSON reader, and travel
//! without text.

mod only;

use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use self::only::OnlyInteger;
use crate::wire::integer;

/// Reads JSON text.
///
/// # Errors
/// Text that is no `R`.
#[inline]
pub(crate) fn read<R: DeserializeOwned>(text: &[u8]) -> serde_json::Result<R> {
    // The errors are those of the JSON reader, which says where they are.
    R::deserialize(Text(text)).or_else(|_| serde_json::from_slice(text))
}

/// Reads a JSON integer.
///
/// # Errors
/// One that is no `R`.
#[inline]
pub(crate) fn integer<R: DeserializeOwned>(number: i64) -> serde_json::Result<R> {
    // What takes no integer may yet take the text of one.
    R::deserialize(Number(number)).or_else(|_| serde_json::from_str(&number.to_string()))
}

/// The integer that a value is as JSON, if it is one.
#[inline]
pub(crate) fn number<T: Serialize + ?Sized>(value: &T) -> Option<i64> {
    value.serialize(OnlyInteger).ok()
}

/// A JSON integer.
struct Number(i64);

impl<'de> Deserializer<'de> for Number {
    type Error = serde_json::Error;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> serde_json::Result<V::Value> {
        match u64::try_from(self.0) {
            Ok(number) => visitor.visit_u64(number),
            Err(_negative) => visitor.visit_i64(self.0),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The text of one value.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn json<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'a>>) -> serde_json::Result<T>,
    ) -> serde_json::Result<T> {
        let mut reader = serde_json::Deserializer::from_slice(self.0);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

/// An integer as the JSON reader would give it.
macro_rules! integers {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> serde_json::Result<V::Value> {
            match integer::read(self.0) {
                Some(number) => match u64::try_from(number) {
                    Ok(number) => visitor.visit_u64(number),
                    Err(_negative) => visitor.visit_i64(number),
                },
                None => self.json(|reader| reader.$method(visitor)),
            }
        }
    )*};
}

macro_rules! others {
    ($($method:ident($($name:ident: $ty:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $ty,)* visitor: V) -> serde_json::Result<V::Value> {
            self.json(|reader| reader.$method($($name,)* visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = serde_json::Error;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    others! {
        deserialize_any() deserialize_bool() deserialize_i128() deserialize_u128() deserialize_f32()
        deserialize_f64() deserialize_char() deserialize_str() deserialize_string() deserialize_bytes()
        deserialize_byte_buf() deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    const TEXTS: [&str; 18] = [
        "0",
        "-1",
        "255",
        "256",
        "-129",
        "3000000000",
        "9007199254740993",
        "18446744073709551615",
        "-0",
        "01",
        "1.0",
        "1e2",
        " 7 ",
        "7 7",
        "\"7\"",
        "[1,2]",
        "{\"a\":1}",
        "null",
    ];

    #[derive(Debug, PartialEq, Deserialize)]
    struct Metres(u32);

    fn same<R: DeserializeOwned + Debug>() {
        for text in TEXTS {
            if let Some(number) = integer::read(text.as_bytes()) {
                let (read, json) = (integer::<R>(number), serde_json::from_str::<R>(text));
                let shown = |result: serde_json::Result<R>| result.map_err(|error| error.to_string());
                assert_eq!(format!("{:?}", shown(read)), format!("{:?}", shown(json)), "the number {text}");
            }
            let (read, json) = (read::<R>(text.as_bytes()), serde_json::from_str::<R>(text));
            let shown = |result: serde_json::Result<R>| result.map_err(|error| error.to_string());
            assert_eq!(format!("{:?}", shown(read)), format!("{:?}", shown(json)), "{text}");
        }
    }

    #[test]
    fn what_is_an_integer_in_json_has_its_number() {
        #[derive(serde::Serialize)]
        struct Wrapped(Option<i8>);

        fn text(value: &impl Serialize) -> Option<i64> {
            let text = serde_json::to_string(value).unwrap();
            let number = number(value);
            assert!(number.is_none_or(|number| number.to_string() == text), "{text}");
            number
        }
        assert_eq!(
            [text(&7_u8), text(&-7_i16), text(&u64::from(u32::MAX)), text(&i64::MIN)].map(|n| n.is_some()),
            [true; 4]
        );
        assert_eq!(text(&Wrapped(Some(-3))), Some(-3));
        assert_eq!(text(&u64::MAX), None);
        assert_eq!((text(&7.0), text(&"7"), text(&true), text(&())), (None, None, None, None));
        assert_eq!(
            (text(&[7]), text(&(7, 8)), text(&Wrapped(None)), text(&serde_json::json!(7))),
            (None, None, None, Some(7))
        );
    }

    #[test]
    fn values_and_errors_are_those_of_the_json_reader() {
        same::<u8>();
        same::<i8>();
        same::<i32>();
        same::<u64>();
        same::<i64>();
        same::<i128>();
        same::<f64>();
        same::<bool>();
        same::<String>();
        same::<Option<u16>>();
        same::<Metres>();
        same::<(u8, u8)>();
        same::<Vec<u8>>();
        same::<BTreeMap<String, u8>>();
        same::<Value>();
        same::<Box<RawValue>>();
        same::<()>();
    }
}
