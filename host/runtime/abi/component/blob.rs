//! Strings and lists of fixed-width numbers, passed as one piece: a dynamic
//! value would take 40 bytes and 45 ns for every element.
//!
//! The engine picks the way of passing by Rust type, and one signature has
//! twelve such types on either side. [`Blob`] is all of them in one type that
//! hands every call on to the engine's own implementation for what it holds.

#![expect(unsafe_code, reason = "values of a type known only at run time go through the typed fast path")]

use std::borrow::Cow;
use std::mem::MaybeUninit;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentType, Lift, Lower};
use wasmtime::{ValRaw, bail};

use crate::value::ty::Ty;
use crate::value::{Numbers, Value};

/// A string or a list of fixed-width numbers.
#[derive(Debug)]
pub enum Blob<'a> {
    /// A `string`.
    Text(Cow<'a, str>),
    /// A `list<u8>`.
    Bytes(Cow<'a, [u8]>),
    /// A list of any other number.
    Numbers(Numbers),
}

impl Blob<'_> {
    /// Whether values of `ty` are passed as one piece.
    #[must_use]
    pub fn carries(ty: &Ty) -> bool {
        match ty {
            Ty::String => true,
            Ty::List(item) => matches!(
                **item,
                Ty::U8 | Ty::S8 | Ty::S16 | Ty::U16 | Ty::S32 | Ty::U32 | Ty::S64 | Ty::U64 | Ty::F32 | Ty::F64
            ),
            _ => false,
        }
    }

    /// The blob of a value that [`Blob::carries`] says yes to.
    #[must_use]
    pub fn of(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.into())),
            Value::Bytes(bytes) => Some(Self::Bytes(bytes.into())),
            Value::Numbers(numbers) => Some(Self::Numbers(numbers)),
            _ => None,
        }
    }

    /// The value that this is.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Bytes(bytes) => Value::Bytes(bytes.into_owned()),
            Self::Numbers(numbers) => Value::Numbers(numbers),
        }
    }
}

/// Evaluates `$then` with `$inner` as the string or slice that a blob holds.
macro_rules! on_inner {
    ($blob:expr, $inner:ident => $then:expr) => {
        match $blob {
            Blob::Text(text) => {
                let $inner = &**text;
                $then
            }
            Blob::Bytes(bytes) => {
                let $inner = &**bytes;
                $then
            }
            Blob::Numbers(numbers) => match numbers {
                Numbers::S8(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::S16(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::U16(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::S32(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::U32(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::S64(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::U64(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::F32(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
                Numbers::F64(numbers) => {
                    let $inner = &**numbers;
                    $then
                }
            },
        }
    };
}

/// Evaluates `$then` with `$Rust` as the type that carries `$ty`.
macro_rules! by_type {
    ($ty:expr, $types:expr, $Rust:ident => $then:expr) => {{
        macro_rules! by_kind {
            ($kind:ident, $N:ty) => {{
                type $Rust = Vec<$N>;
                $then.map(|list| Blob::Numbers(Numbers::$kind(list)))
            }};
        }
        match $ty {
            InterfaceType::String => {
                type $Rust = String;
                $then.map(|text| Blob::Text(text.into()))
            }
            InterfaceType::List(list) => match $types[list].element {
                InterfaceType::U8 => {
                    type $Rust = Vec<u8>;
                    $then.map(|bytes| Blob::Bytes(bytes.into()))
                }
                InterfaceType::S8 => by_kind!(S8, i8),
                InterfaceType::S16 => by_kind!(S16, i16),
                InterfaceType::U16 => by_kind!(U16, u16),
                InterfaceType::S32 => by_kind!(S32, i32),
                InterfaceType::U32 => by_kind!(U32, u32),
                InterfaceType::S64 => by_kind!(S64, i64),
                InterfaceType::U64 => by_kind!(U64, u64),
                InterfaceType::Float32 => by_kind!(F32, f32),
                InterfaceType::Float64 => by_kind!(F64, f64),
                _ => bail!("the list's elements are no numbers"),
            },
            _ => bail!("expected a string or a list"),
        }
    }};
}

// SAFETY: strings and lists have the same lowered form, two words, and the
// same canonical ABI; only types of which `Blob` has a variant pass the check.
// There is no safe way: the traits cannot be derived for an enum that is not a
// WIT variant.
unsafe impl ComponentType for Blob<'_> {
    type Lower = [ValRaw; 2];

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::POINTER_PAIR;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        match ty {
            InterfaceType::String => Ok(()),
            InterfaceType::List(list) => match types.types[*list].element {
                InterfaceType::U8
                | InterfaceType::S8
                | InterfaceType::S16
                | InterfaceType::U16
                | InterfaceType::S32
                | InterfaceType::U32
                | InterfaceType::S64
                | InterfaceType::U64
                | InterfaceType::Float32
                | InterfaceType::Float64 => Ok(()),
                _ => bail!("expected a list of numbers"),
            },
            _ => bail!("expected a string or a list"),
        }
    }
}

// SAFETY: what is written is written by the engine's implementation for the
// slice or string that is held, into the guest's memory. Items are read by the
// types of the function's own parameters, so it is of the right type, too.
unsafe impl Lower for Blob<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        target: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        on_inner!(self, inner => inner.linear_lower_to_flat(cx, ty, target))
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        on_inner!(self, inner => inner.linear_lower_to_memory(cx, ty, offset))
    }
}

// SAFETY: what is read is read by the engine's implementation for the very
// type that the function gives.
unsafe impl Lift for Blob<'static> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        source: &Self::Lower,
    ) -> wasmtime::Result<Self> {
        by_type!(ty, cx.types, Rust => <Rust as Lift>::linear_lift_from_flat(cx, ty, source))
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> wasmtime::Result<Self> {
        by_type!(ty, cx.types, Rust => <Rust as Lift>::linear_lift_from_memory(cx, ty, bytes))
    }
}
