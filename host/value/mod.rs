//! Typed values: WIT types as data, JSON text to values and back.
//!
//! Pure: no engine, no I/O, no threads. Text is hostile here: every reader is
//! bounded in depth and gives errors, never panics.

pub mod args;
pub mod cells;
pub mod json;
mod lex;
pub mod names;
mod number;
pub mod packed;
pub mod ty;

use std::fmt;

/// A value of some [`ty::Ty`]; only together with that type does it say
/// everything.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// Of `s8`.
    S8(i8),
    /// Of `u8`.
    U8(u8),
    /// Of `s16`.
    S16(i16),
    /// Of `u16`.
    U16(u16),
    /// Of `s32`, and the bits of a core `i32`.
    S32(i32),
    /// Of `u32`.
    U32(u32),
    /// Of `s64`, and the bits of a core `i64`.
    S64(i64),
    /// Of `u64`.
    U64(u64),
    /// Of `f32`.
    F32(f32),
    /// Of `f64`.
    F64(f64),
    /// One Unicode scalar.
    Char(char),
    /// UTF-8 text.
    String(String),
    /// Of `list<u8>`, always.
    Bytes(Vec<u8>),
    /// Of a list of any other fixed-width number, always.
    Numbers(Numbers),
    /// Of a list of anything else.
    List(Vec<Value>),
    /// Fields in the type's order.
    Record(Vec<Value>),
    /// Elements in order.
    Tuple(Vec<Value>),
    /// The case's position in the type, and its payload.
    Variant(u32, Option<Box<Value>>),
    /// The name's position in the type.
    Enum(u32),
    /// A value or nothing.
    Option(Option<Box<Value>>),
    /// A success or a failure, each with or without a payload.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// Positions of the names that are set, ascending.
    Flags(Vec<u32>),
}

/// Calls a macro with every kind of [`Numbers`]: the variant's name, shared
/// with [`ty::Ty`] and [`Value`], and the Rust type.
macro_rules! for_each_number {
    ($then:ident) => {
        $then! { S8: i8, S16: i16, U16: u16, S32: i32, U32: u32, S64: i64, U64: u64, F32: f32, F64: f64 }
    };
}
pub(crate) use for_each_number;

macro_rules! define_numbers {
    ($($kind:ident: $rust:ty),*) => {
        /// A list of fixed-width numbers, held without a tag per element.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Numbers {
            $(
                #[doc = concat!("Elements of `", stringify!($rust), "`.")]
                $kind(Vec<$rust>),
            )*
        }

        impl Numbers {
            /// How many elements there are.
            #[must_use]
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$kind(items) => items.len(),)*
                }
            }
        }
    };
}
for_each_number!(define_numbers);

impl Numbers {
    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What does not fit, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ValueError {
    /// JSON path from the item's root, such as `$[3].size.width`.
    pub path: String,
    /// For people; names the type that is not met. May hold pieces of the
    /// text: printers escape it.
    pub message: String,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl ValueError {
    /// An error about the root.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { path: "$".to_owned(), message: message.into() }
    }

    /// The same error seen from a list that holds the value at `index`.
    #[must_use]
    pub fn in_element(self, index: usize) -> Self {
        self.below(&format!("[{index}]"))
    }

    /// The same error seen from an object that holds the value as `name`.
    #[must_use]
    pub fn in_field(self, name: &str) -> Self {
        self.below(&format!(".{name}"))
    }

    fn below(mut self, step: &str) -> Self {
        self.path.insert_str("$".len(), step);
        self
    }
}
