//! A serializer that takes integers and refuses all else.

use std::fmt;

use serde::ser::{Impossible, Serialize, Serializer};

/// Gives the integer that a value is as JSON.
pub(super) struct OnlyInteger;

/// It is none, or a larger one.
#[derive(Debug)]
pub(super) struct NoInteger;

impl fmt::Display for NoInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no integer")
    }
}

impl std::error::Error for NoInteger {}

impl serde::ser::Error for NoInteger {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

type Given = Result<i64, NoInteger>;
type None = Impossible<i64, NoInteger>;

macro_rules! integers {
    ($($method:ident($ty:ty))*) => {$(
        #[inline]
        fn $method(self, number: $ty) -> Given {
            i64::try_from(number).map_err(|_| NoInteger)
        }
    )*};
}

macro_rules! others {
    ($($method:ident($($ty:ty),*) -> $given:ty)*) => {$(
        fn $method(self, $(_: $ty),*) -> $given {
            Err(NoInteger)
        }
    )*};
}

impl Serializer for OnlyInteger {
    type Ok = i64;
    type Error = NoInteger;
    type SerializeSeq = None;
    type SerializeTuple = None;
    type SerializeTupleStruct = None;
    type SerializeTupleVariant = None;
    type SerializeMap = None;
    type SerializeStruct = None;
    type SerializeStructVariant = None;

    integers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    others! {
        serialize_bool(bool) -> Given
        serialize_f32(f32) -> Given
        serialize_f64(f64) -> Given
        serialize_char(char) -> Given
        serialize_str(&str) -> Given
        serialize_bytes(&[u8]) -> Given
        serialize_none() -> Given
        serialize_unit() -> Given
        serialize_unit_struct(&'static str) -> Given
        serialize_unit_variant(&'static str, u32, &'static str) -> Given
        serialize_seq(Option<usize>) -> Result<None, NoInteger>
        serialize_tuple(usize) -> Result<None, NoInteger>
        serialize_tuple_struct(&'static str, usize) -> Result<None, NoInteger>
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Result<None, NoInteger>
        serialize_map(Option<usize>) -> Result<None, NoInteger>
        serialize_struct(&'static str, usize) -> Result<None, NoInteger>
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Result<None, NoInteger>
    }

    // As JSON has them: without a sign that they are there.

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Given {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Given {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Given {
        Err(NoInteger)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Given {
        Err(NoInteger)
    }
}
