//! Arguments and results that fit the typed path beside [`Blob`]: lists of
//! arguments of any supported types, told apart by their number of flat core
//! values only, and single numbers, told apart by their size only.
//!
//! A Rust type for every signature would be thousands; these are dozens.

#![expect(unsafe_code, reason = "values of a type known only at run time go through the typed fast path")]

use std::mem::MaybeUninit;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};
use wasmtime::{ValRaw, bail};

use crate::runtime::abi::component::blob::Blob;
use crate::value::Value;
use crate::value::ty::Ty;

/// One argument.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A string or a list of numbers: two flat values.
    Blob(Blob<'a>),
    /// A boolean, a number or a character: one flat value.
    Scalar(Value),
}

impl Arg<'_> {
    /// How many flat values an argument of `ty` takes; `None` where it is not
    /// supported.
    #[must_use]
    pub fn width(ty: &Ty) -> Option<usize> {
        if Blob::carries(ty) { Some(2) } else { scalar_size(ty).map(|_| 1) }
    }

    /// The argument of a value of a type that has a width.
    #[must_use]
    pub fn of(value: Value) -> Option<Self> {
        match value {
            Value::String(_) | Value::Bytes(_) | Value::Numbers(_) => Blob::of(value).map(Self::Blob),
            scalar => raw(&scalar).map(|_| Self::Scalar(scalar)),
        }
    }
}

/// Bytes of a boolean, a number or a character in memory.
#[must_use]
pub fn scalar_size(ty: &Ty) -> Option<u32> {
    match ty {
        Ty::Bool | Ty::S8 | Ty::U8 => Some(1),
        Ty::S16 | Ty::U16 => Some(2),
        Ty::S32 | Ty::U32 | Ty::F32 | Ty::Char => Some(4),
        Ty::S64 | Ty::U64 | Ty::F64 => Some(8),
        _ => None,
    }
}

fn raw(value: &Value) -> Option<ValRaw> {
    Some(match value {
        Value::Bool(value) => ValRaw::u32(u32::from(*value)),
        Value::S8(number) => ValRaw::i32(i32::from(*number)),
        Value::U8(number) => ValRaw::u32(u32::from(*number)),
        Value::S16(number) => ValRaw::i32(i32::from(*number)),
        Value::U16(number) => ValRaw::u32(u32::from(*number)),
        Value::S32(number) => ValRaw::i32(*number),
        Value::U32(number) => ValRaw::u32(*number),
        Value::S64(number) => ValRaw::i64(*number),
        Value::U64(number) => ValRaw::u64(*number),
        Value::F32(number) => ValRaw::f32(number.to_bits()),
        Value::F64(number) => ValRaw::f64(number.to_bits()),
        Value::Char(scalar) => ValRaw::u32(u32::from(*scalar)),
        _ => return None,
    })
}

/// All arguments of a call, `FLAT` flat values together.
#[derive(Debug)]
pub struct Args<'a, const FLAT: usize>(pub Vec<Arg<'a>>);

/// More flat values than this would be passed in memory, not flat.
pub const MAX_FLAT: usize = 6;

// SAFETY: the check takes only parameters that are `FLAT` flat values, which is
// the lowered form; there are at most `MAX_FLAT` of them, so that they are
// never passed in memory and the layout there is of no importance. There is no
// safe way: the engine derives these traits for fixed types only.
unsafe impl<const FLAT: usize> ComponentType for Args<'_, FLAT> {
    type Lower = [ValRaw; FLAT];

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        let InterfaceType::Tuple(params) = ty else { bail!("expected parameters") };
        let mut flat = 0;
        for ty in &types.types[*params].types {
            flat += match size_of_scalar(ty) {
                Some(_) => 1,
                None => {
                    Blob::typecheck(ty, types)?;
                    2
                }
            };
        }
        if flat != FLAT || FLAT > MAX_FLAT {
            bail!("expected parameters of {FLAT} flat values, found {flat}");
        }
        Ok(())
    }
}

// SAFETY: as above; the types are those of a parameter list.
unsafe impl<const FLAT: usize> ComponentNamedList for Args<'_, FLAT> {}

// SAFETY: every flat value of the target is written.
unsafe impl<const FLAT: usize> Lower for Args<'_, FLAT> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        target: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        let InterfaceType::Tuple(params) = ty else { bail!("expected parameters") };
        let types = cx.types;
        let mut flat = [ValRaw::u64(0); FLAT];
        let mut slots = flat.iter_mut();
        let mut put = |raw| match slots.next() {
            Some(slot) => {
                *slot = raw;
                Ok(())
            }
            None => bail!("too many arguments"),
        };
        for (ty, arg) in types[params].types.iter().zip(&self.0) {
            match arg {
                Arg::Blob(blob) => {
                    let mut pair = MaybeUninit::new([ValRaw::u64(0); 2]);
                    blob.linear_lower_to_flat(cx, *ty, &mut pair)?;
                    // SAFETY: initialised where it was made.
                    let [address, length] = unsafe { pair.assume_init() };
                    put(address)?;
                    put(length)?;
                }
                Arg::Scalar(value) => match raw(value) {
                    Some(raw) => put(raw)?,
                    None => bail!("the argument is no scalar"),
                },
            }
        }
        target.write(flat);
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: usize,
    ) -> wasmtime::Result<()> {
        bail!("arguments are passed flat")
    }
}

fn size_of_scalar(ty: &InterfaceType) -> Option<u32> {
    match ty {
        InterfaceType::Bool | InterfaceType::S8 | InterfaceType::U8 => Some(1),
        InterfaceType::S16 | InterfaceType::U16 => Some(2),
        InterfaceType::S32 | InterfaceType::U32 | InterfaceType::Float32 | InterfaceType::Char => Some(4),
        InterfaceType::S64 | InterfaceType::U64 | InterfaceType::Float64 => Some(8),
        _ => None,
    }
}

/// A boolean, a number or a character of `SIZE` bytes that a function gives.
#[derive(Debug)]
pub struct Scalar<const SIZE: u32>(pub Value);

// SAFETY: every scalar has one flat value and, by its size, this layout; only
// those of the size pass the check.
unsafe impl<const SIZE: u32> ComponentType for Scalar<SIZE> {
    type Lower = ValRaw;

    const ABI: CanonicalAbiInfo = match SIZE {
        1 => CanonicalAbiInfo::SCALAR1,
        2 => CanonicalAbiInfo::SCALAR2,
        4 => CanonicalAbiInfo::SCALAR4,
        _ => CanonicalAbiInfo::SCALAR8,
    };

    fn typecheck(ty: &InterfaceType, _: &InstanceType<'_>) -> wasmtime::Result<()> {
        if size_of_scalar(ty) == Some(SIZE) { Ok(()) } else { bail!("expected a scalar of {SIZE} bytes") }
    }
}

/// Evaluates `$then` with `$Rust` as the type that carries the scalar `$ty`.
macro_rules! by_scalar {
    ($ty:expr, $Rust:ident => $then:expr) => {{
        macro_rules! as_kind {
            ($kind:ident, $N:ty) => {{
                type $Rust = $N;
                $then.map(|scalar| Scalar(Value::$kind(scalar)))
            }};
        }
        match $ty {
            InterfaceType::Bool => as_kind!(Bool, bool),
            InterfaceType::S8 => as_kind!(S8, i8),
            InterfaceType::U8 => as_kind!(U8, u8),
            InterfaceType::S16 => as_kind!(S16, i16),
            InterfaceType::U16 => as_kind!(U16, u16),
            InterfaceType::S32 => as_kind!(S32, i32),
            InterfaceType::U32 => as_kind!(U32, u32),
            InterfaceType::S64 => as_kind!(S64, i64),
            InterfaceType::U64 => as_kind!(U64, u64),
            InterfaceType::Float32 => as_kind!(F32, f32),
            InterfaceType::Float64 => as_kind!(F64, f64),
            InterfaceType::Char => as_kind!(Char, char),
            _ => bail!("expected a scalar"),
        }
    }};
}

// SAFETY: what is read is read by the engine's implementation for the very
// type that the function gives.
unsafe impl<const SIZE: u32> Lift for Scalar<SIZE> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        source: &Self::Lower,
    ) -> wasmtime::Result<Self> {
        by_scalar!(ty, Rust => <Rust as Lift>::linear_lift_from_flat(cx, ty, source))
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> wasmtime::Result<Self> {
        by_scalar!(ty, Rust => <Rust as Lift>::linear_lift_from_memory(cx, ty, bytes))
    }
}
