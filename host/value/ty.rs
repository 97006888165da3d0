//! WIT and core types as plain data, as they travel from the compile worker to
//! the host and as the JSON mapping reads them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a parameter, a result or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ty {
    /// `true` or `false`.
    Bool,
    /// Signed 8 bits.
    S8,
    /// Unsigned 8 bits.
    U8,
    /// Signed 16 bits.
    S16,
    /// Unsigned 16 bits.
    U16,
    /// Signed 32 bits.
    S32,
    /// Unsigned 32 bits.
    U32,
    /// Signed 64 bits.
    S64,
    /// Unsigned 64 bits.
    U64,
    /// 32-bit float; also a core `f32`.
    F32,
    /// 64-bit float; also a core `f64`.
    F64,
    /// A core `i32`: takes −2³¹…2³²−1, printed signed.
    I32,
    /// A core `i64`: takes −2⁶³…2⁶⁴−1, printed signed.
    I64,
    /// One Unicode scalar.
    Char,
    /// UTF-8 text.
    String,
    /// Any number of one type.
    List(Box<Ty>),
    /// Named fields.
    Record(Vec<Field>),
    /// Unnamed fields.
    Tuple(Vec<Ty>),
    /// One case of several, each with or without a payload.
    Variant(Vec<Case>),
    /// One name of several.
    Enum(Vec<String>),
    /// A value or nothing.
    Option(Box<Ty>),
    /// A success or a failure.
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    /// Any of several names.
    Flags(Vec<String>),
    /// What JSON cannot carry, by its name: a resource, stream, future,
    /// vector or reference.
    Unsupported(String),
}

/// A field of a record, or a parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its WIT name; core parameters are called `0`, `1`, …
    pub name: String,
    /// Its type.
    pub ty: Ty,
}

/// A case of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its WIT name.
    pub name: String,
    /// The payload's type, where there is a payload.
    pub ty: Option<Ty>,
}

/// The type of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuncTy {
    /// Parameters in order.
    pub params: Vec<Field>,
    /// Results in order; at most one for a component's function.
    pub results: Vec<Ty>,
}

impl fmt::Display for Ty {
    /// Writes the type as WIT would.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Option(item) => write!(f, "option<{item}>"),
            Self::Tuple(items) => braced(f, "tuple<", items.iter(), ">"),
            Self::Record(fields) => braced(f, "record { ", fields.iter(), " }"),
            Self::Variant(cases) => braced(f, "variant { ", cases.iter(), " }"),
            Self::Enum(names) => braced(f, "enum { ", names.iter(), " }"),
            Self::Flags(names) => braced(f, "flags { ", names.iter(), " }"),
            Self::Result(None, None) => f.write_str("result"),
            Self::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            Self::Result(None, Some(err)) => write!(f, "result<_, {err}>"),
            Self::Result(Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            Self::Unsupported(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.ty)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ty {
            Some(ty) => write!(f, "{}({ty})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for FuncTy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        braced(f, "func(", self.params.iter(), ")")?;
        match self.results.as_slice() {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            many => braced(f, " -> (", many.iter(), ")"),
        }
    }
}

fn braced<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: impl Iterator<Item = T>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (position, item) in items.enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_str(close)
}

impl Ty {
    /// Whether this is `list<u8>`, which travels as bytes.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        matches!(self, Self::List(item) if **item == Self::U8)
    }

    /// The name of the first part that JSON cannot carry.
    #[must_use]
    pub fn unsupported(&self) -> Option<&str> {
        match self {
            Self::Unsupported(name) => Some(name),
            Self::List(item) | Self::Option(item) => item.unsupported(),
            Self::Tuple(items) => items.iter().find_map(Self::unsupported),
            Self::Record(fields) => fields.iter().find_map(|field| field.ty.unsupported()),
            Self::Variant(cases) => cases.iter().filter_map(|case| case.ty.as_ref()).find_map(Self::unsupported),
            Self::Result(ok, err) => [ok, err].into_iter().flatten().find_map(|ty| ty.unsupported()),
            _ => None,
        }
    }
}
