//! Arguments into a guest: [`Packed`] values written where the canonical ABI
//! wants them, without the engine's dynamic values, which take 40 bytes, an
//! allocation and a comparison of names for each element.
//!
//! The engine picks the way of passing by Rust type. [`Args`] is the one type
//! for all signatures: a list of as many flat values as a call can have, of
//! which the function takes those that it has.

#![expect(unsafe_code, reason = "values of a type known only at run time go through the typed fast path")]

use std::mem::MaybeUninit;

use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentNamedList, ComponentType, Lower};
use wasmtime::{Result, ValRaw, bail};

use crate::value::packed::{Packed, Unpacker};

/// More flat values than this are passed in memory.
const MAX_FLAT: usize = 16;
/// Longer strings are the engine's to refuse.
const LONGEST_TEXT: usize = i32::MAX as usize;

/// All arguments of a call, one after the other.
#[derive(Debug)]
pub struct Args<'a>(pub &'a Packed<'a>);

// SAFETY: `Lower` is a sequence of `ValRaw`, as many as a call can have. The
// engine hands all of them to a function that reads only those that its type
// has. Whatever the values are, they are written by safe code, driven by the
// type of the very function that is called; so any parameters pass the check.
// The layout in memory is of no importance: `Args` is all of a call's
// parameters, and what does not fit as flat values it stores by itself.
// There is no safe way: the engine derives these traits for fixed types only.
unsafe impl ComponentType for Args<'_> {
    type Lower = [ValRaw; MAX_FLAT];

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        match ty {
            InterfaceType::Tuple(_) => Ok(()),
            _ => bail!("expected parameters"),
        }
    }
}

// SAFETY: as above; the types are those of a parameter list.
unsafe impl ComponentNamedList for Args<'_> {}

// SAFETY: every flat value of the target is written.
unsafe impl Lower for Args<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        target: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        let types = cx.types;
        let utf8 = matches!(cx.options().string_encoding, StringEncoding::Utf8);
        let mut lowering = Lowering { cx, types, utf8, values: Unpacker::new(self.0) };
        let mut flat = Flat { values: [ValRaw::u64(0); MAX_FLAT], used: 0 };
        match types.canonical_abi(&ty).flat_count(MAX_FLAT) {
            Some(_) => lowering.flat(ty, &mut flat)?,
            None => {
                let (address, _) = lowering.elements(ty, 1)?;
                flat.put(ValRaw::i64(address as i64))?;
            }
        }
        target.write(flat.values);
        Ok(())
    }

    fn linear_lower_to_memory<T>(&self, _: &mut LowerContext<'_, T>, _: InterfaceType, _: usize) -> Result<()> {
        bail!("arguments are passed flat")
    }
}

/// Flat values as far as they are filled.
struct Flat {
    values: [ValRaw; MAX_FLAT],
    used: usize,
}

impl Flat {
    fn put(&mut self, value: ValRaw) -> Result<()> {
        match self.values.get_mut(self.used) {
            Some(slot) => *slot = value,
            None => bail!("too many arguments"),
        }
        self.used += 1;
        Ok(())
    }
}

/// Values on their way into a guest.
struct Lowering<'c, 'x, 'p, T: 'static> {
    cx: &'c mut LowerContext<'x, T>,
    types: &'x ComponentTypes,
    /// How the guest's strings are encoded.
    utf8: bool,
    values: Unpacker<'p>,
}

impl<T: 'static> Lowering<'_, '_, '_, T> {
    fn word(&mut self) -> Result<u64> {
        self.values.word().ok_or_else(missing)
    }

    /// Writes the next value as flat values.
    fn flat(&mut self, ty: InterfaceType, flat: &mut Flat) -> Result<()> {
        let types = self.types;
        match ty {
            InterfaceType::S8 | InterfaceType::S16 | InterfaceType::S32 => {
                let number = self.word()?;
                flat.put(ValRaw::i32(number as i32))?;
            }
            InterfaceType::Bool
            | InterfaceType::U8
            | InterfaceType::U16
            | InterfaceType::U32
            | InterfaceType::Char
            | InterfaceType::Enum(_) => {
                let number = self.word()?;
                flat.put(ValRaw::u32(number as u32))?;
            }
            InterfaceType::S64 | InterfaceType::U64 => flat.put(ValRaw::u64(self.word()?))?,
            InterfaceType::Float32 => flat.put(ValRaw::f32(self.word()? as u32))?,
            InterfaceType::Float64 => flat.put(ValRaw::f64(self.word()?))?,
            InterfaceType::String | InterfaceType::List(_) => {
                let (address, length) = self.list(ty)?;
                flat.put(ValRaw::i64(address as i64))?;
                flat.put(ValRaw::i64(length as i64))?;
            }
            InterfaceType::Record(record) => {
                types[record].fields.iter().try_for_each(|field| self.flat(field.ty, flat))?;
            }
            InterfaceType::Tuple(tuple) => types[tuple].types.iter().try_for_each(|ty| self.flat(*ty, flat))?,
            InterfaceType::Variant(_) | InterfaceType::Option(_) | InterfaceType::Result(_) => {
                let end = flat.used + types.canonical_abi(&ty).flat_count(MAX_FLAT).ok_or_else(missing)?;
                let case = self.word()?;
                flat.put(ValRaw::u32(case as u32))?;
                if let Some(payload) = payload_of(types, ty, case)? {
                    self.flat(payload, flat)?;
                }
                // What the other cases would need are zeros.
                flat.used = end;
            }
            InterfaceType::Flags(flags) => {
                for _ in 0..types[flags].names.len().div_ceil(32) {
                    let set = self.word()?;
                    flat.put(ValRaw::u32(set as u32))?;
                }
            }
            _ => bail!("a value that cannot be passed"),
        }
        Ok(())
    }

    /// Writes the next value into `image`, which goes to the guest's memory.
    fn store(&mut self, ty: InterfaceType, image: &mut [u8]) -> Result<()> {
        let types = self.types;
        match ty {
            InterfaceType::Record(record) => {
                let mut offset = 0;
                for field in &types[record].fields {
                    self.store_part(field.ty, image, &mut offset)?;
                }
            }
            InterfaceType::Tuple(tuple) => {
                let mut offset = 0;
                for ty in &types[tuple].types {
                    self.store_part(*ty, image, &mut offset)?;
                }
            }
            InterfaceType::String | InterfaceType::List(_) => {
                let (address, length) = self.list(ty)?;
                put(image, address as u64, 4)?;
                put(image.get_mut(4..).ok_or_else(missing)?, length as u64, 4)?;
            }
            InterfaceType::Variant(_) | InterfaceType::Option(_) | InterfaceType::Result(_) => {
                let case = self.word()?;
                let (size, offset) = discriminant(types, ty)?;
                put(image, case, size)?;
                if let Some(payload) = payload_of(types, ty, case)? {
                    self.store(payload, image.get_mut(offset..).ok_or_else(missing)?)?;
                }
            }
            InterfaceType::Flags(flags) => {
                let size = types[flags].abi.size32 as usize;
                for at in 0..types[flags].names.len().div_ceil(32) {
                    let set = self.word()?;
                    put(image.get_mut(4 * at..).ok_or_else(missing)?, set, size.min(4))?;
                }
            }
            _ => {
                let size = types.canonical_abi(&ty).size32 as usize;
                let word = self.word()?;
                put(image, word, size)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn store_part(&mut self, ty: InterfaceType, image: &mut [u8], offset: &mut usize) -> Result<()> {
        let at = self.types.canonical_abi(&ty).next_field32_size(offset);
        self.store(ty, image.get_mut(at..).ok_or_else(missing)?)
    }

    /// Writes the next string or list to the guest: its address and length.
    fn list(&mut self, ty: InterfaceType) -> Result<(usize, usize)> {
        let InterfaceType::List(list) = ty else { return self.text() };
        let item = self.types[list].element;
        let Some(size) = number_size(item) else {
            let length = self.values.length().ok_or_else(missing)?;
            return self.elements(item, length);
        };
        let bytes = self.values.numbers(size).ok_or_else(missing)?;
        let address = self.cx.realloc(0, 0, size as u32, bytes.len())?;
        self.copy(address, bytes)?;
        Ok((address, bytes.len() / size))
    }

    /// Writes `length` values to the guest.
    fn elements(&mut self, ty: InterfaceType, length: usize) -> Result<(usize, usize)> {
        let abi = self.types.canonical_abi(&ty);
        let size = abi.size32 as usize;
        let Some(total) = length.checked_mul(size) else { bail!("size overflow copying a list") };
        let address = self.cx.realloc(0, 0, abi.align32, total)?;
        let mut image = vec![0; total];
        for part in image.chunks_exact_mut(size.max(1)) {
            self.store(ty, part)?;
        }
        self.copy(address, &image)?;
        Ok((address, length))
    }

    fn text(&mut self) -> Result<(usize, usize)> {
        let text = self.values.text().ok_or_else(missing)?;
        if self.utf8 && text.len() <= LONGEST_TEXT {
            let address = self.cx.realloc(0, 0, 1, text.len())?;
            self.copy(address, text.as_bytes())?;
            return Ok((address, text.len()));
        }
        let mut pair = MaybeUninit::new([ValRaw::u64(0); 2]);
        text.linear_lower_to_flat(self.cx, InterfaceType::String, &mut pair)?;
        // SAFETY: initialised where it was made.
        let [address, length] = unsafe { pair.assume_init() };
        Ok((address.get_u32() as usize, length.get_u32() as usize))
    }

    fn copy(&mut self, address: usize, bytes: &[u8]) -> Result<()> {
        let place = self.cx.as_slice_mut().get_mut(address..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or_else(missing)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Writes the lowest `size` bytes of a word.
#[inline]
fn put(image: &mut [u8], word: u64, size: usize) -> Result<()> {
    let bytes = word.to_le_bytes();
    match (image.get_mut(..size), bytes.get(..size)) {
        (Some(image), Some(bytes)) => image.copy_from_slice(bytes),
        _ => return Err(missing()),
    }
    Ok(())
}

/// Only a description that is not of this component comes to this.
#[cold]
fn missing() -> wasmtime::Error {
    wasmtime::format_err!("the arguments are not of the function's type")
}

/// The size of an element of a list that is held as bytes.
pub(super) fn number_size(ty: InterfaceType) -> Option<usize> {
    match ty {
        InterfaceType::S8 | InterfaceType::U8 => Some(1),
        InterfaceType::S16 | InterfaceType::U16 => Some(2),
        InterfaceType::S32 | InterfaceType::U32 | InterfaceType::Float32 => Some(4),
        InterfaceType::S64 | InterfaceType::U64 | InterfaceType::Float64 => Some(8),
        _ => None,
    }
}

/// The type of the payload of a case of a variant, option or result.
pub(super) fn payload_of(types: &ComponentTypes, ty: InterfaceType, case: u64) -> Result<Option<InterfaceType>> {
    let position = usize::try_from(case).unwrap_or(usize::MAX);
    let (payload, cases) = match ty {
        InterfaceType::Variant(variant) => {
            let cases = &types[variant].cases;
            (cases.get_index(position).map(|(_, payload)| *payload), cases.len())
        }
        InterfaceType::Option(option) => ([None, Some(types[option].ty)].get(position).copied(), 2),
        InterfaceType::Result(result) => ([types[result].ok, types[result].err].get(position).copied(), 2),
        InterfaceType::Enum(names) => {
            let names = &types[names].names;
            ((position < names.len()).then_some(None), names.len())
        }
        _ => (None, 0),
    };
    payload.ok_or_else(|| wasmtime::format_err!("discriminant {case} out of range [0..{cases})"))
}

/// The bytes of a discriminant, and where the payload is.
pub(super) fn discriminant(types: &ComponentTypes, ty: InterfaceType) -> Result<(usize, usize)> {
    let info = match ty {
        InterfaceType::Variant(variant) => &types[variant].info,
        InterfaceType::Option(option) => &types[option].info,
        InterfaceType::Result(result) => &types[result].info,
        InterfaceType::Enum(names) => &types[names].info,
        _ => bail!("a type without cases"),
    };
    Ok((u32::from(info.size) as usize, info.payload_offset32 as usize))
}
