//! Results out of a guest, as [`Packed`] values: the way back of
//! [`super::lower`]. Guests are hostile: every address and case is checked, and
//! what the host takes is charged to the call's budget before it is taken.

#![expect(unsafe_code, reason = "values of a type known only at run time go through the typed fast path")]

use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift};
use wasmtime::{Result, ValRaw, bail};

use crate::runtime::abi::component::lower::{discriminant, number_size, payload_of};
use crate::value::packed::Packed;

/// The result of a call.
#[derive(Debug)]
pub struct Given(pub Packed<'static>);

// SAFETY: a function that gives something gives one core value: the result
// itself where that is one flat value, else its address. `Given` takes either,
// and reads memory by safe code, driven by the type of the very function that
// was called; so any result passes the check. It is never part of another
// type, for which the layout would be of importance. There is no safe way: the
// engine derives these traits for fixed types only.
unsafe impl ComponentType for Given {
    type Lower = ValRaw;

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::SCALAR4;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl Lift for Given {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, source: &ValRaw) -> Result<Self> {
        let mut lifting = Lifting::new(cx);
        let abi = lifting.types.canonical_abi(&ty);
        match abi.flat_count(1) {
            Some(_) => {
                lifting.flat(ty, *source)?;
            }
            None => {
                let address = source.get_u32() as usize;
                if !address.is_multiple_of(abi.align32 as usize) {
                    bail!("return pointer not aligned");
                }
                let bytes = lifting.memory.get(address..).and_then(|rest| rest.get(..abi.size32 as usize));
                let Some(bytes) = bytes else { bail!("pointer out of bounds of memory") };
                lifting.load(ty, bytes)?;
            }
        }
        Ok(Self(Packed { words: lifting.words, text: lifting.text.into(), bytes: lifting.bytes.into() }))
    }

    fn linear_lift_from_memory(_: &mut LiftContext<'_>, _: InterfaceType, _: &[u8]) -> Result<Self> {
        bail!("results are given flat")
    }
}

/// Values on their way out of a guest.
struct Lifting<'c, 'x> {
    types: &'x ComponentTypes,
    memory: &'x [u8],
    /// How the guest's strings are encoded.
    utf8: bool,
    cx: &'c mut LiftContext<'x>,
    words: Vec<u64>,
    text: String,
    bytes: Vec<u8>,
}

impl<'c, 'x> Lifting<'c, 'x> {
    fn new(cx: &'c mut LiftContext<'x>) -> Self {
        let utf8 = matches!(cx.options().string_encoding, StringEncoding::Utf8);
        let (types, memory) = (&**cx.types, cx.memory());
        Self { types, memory, utf8, cx, words: Vec::new(), text: String::new(), bytes: Vec::new() }
    }

    #[inline]
    fn push(&mut self, word: u64) -> Result<()> {
        self.cx.consume_fuel(size_of::<u64>())?;
        self.words.push(word);
        Ok(())
    }

    /// Reads a value of at most one flat value.
    fn flat(&mut self, ty: InterfaceType, value: ValRaw) -> Result<()> {
        let types = self.types;
        let word = match ty {
            InterfaceType::S8 => i64::from(value.get_u32() as i8).cast_unsigned(),
            InterfaceType::S16 => i64::from(value.get_u32() as i16).cast_unsigned(),
            InterfaceType::S32 => i64::from(value.get_i32()).cast_unsigned(),
            InterfaceType::U8 => u64::from(value.get_u32() as u8),
            InterfaceType::U16 => u64::from(value.get_u32() as u16),
            InterfaceType::U32 => u64::from(value.get_u32()),
            InterfaceType::S64 | InterfaceType::U64 => value.get_u64(),
            InterfaceType::Float32 => u64::from(value.get_f32()),
            InterfaceType::Float64 => value.get_f64(),
            InterfaceType::Bool => u64::from(value.get_u32() != 0),
            InterfaceType::Char => scalar(value.get_u32())?,
            InterfaceType::Flags(flags) => {
                let names = types[flags].names.len();
                if names == 0 {
                    return Ok(());
                }
                known_flags(value.get_u32(), names)
            }
            InterfaceType::Enum(_)
            | InterfaceType::Variant(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_) => {
                let case = u64::from(value.get_u32());
                self.push(case)?;
                // Nothing is left for a payload but what takes no flat value.
                return payload_of(types, ty, case)?.map_or(Ok(()), |payload| self.flat(payload, ValRaw::u64(0)));
            }
            InterfaceType::Record(record) => {
                return types[record].fields.iter().try_for_each(|field| self.flat(field.ty, value));
            }
            InterfaceType::Tuple(tuple) => {
                return types[tuple].types.iter().try_for_each(|ty| self.flat(*ty, value));
            }
            _ => bail!("a value that cannot be passed"),
        };
        self.push(word)
    }

    /// Reads a value from its place in the guest's memory.
    fn load(&mut self, ty: InterfaceType, bytes: &[u8]) -> Result<()> {
        let types = self.types;
        let word = match ty {
            InterfaceType::S8 => i64::from(get::<1>(bytes)?[0].cast_signed()).cast_unsigned(),
            InterfaceType::S16 => i64::from(i16::from_le_bytes(get(bytes)?)).cast_unsigned(),
            InterfaceType::S32 => i64::from(i32::from_le_bytes(get(bytes)?)).cast_unsigned(),
            InterfaceType::U8 => u64::from(get::<1>(bytes)?[0]),
            InterfaceType::U16 => u64::from(u16::from_le_bytes(get(bytes)?)),
            InterfaceType::U32 | InterfaceType::Float32 => u64::from(u32::from_le_bytes(get(bytes)?)),
            InterfaceType::S64 | InterfaceType::U64 | InterfaceType::Float64 => u64::from_le_bytes(get(bytes)?),
            InterfaceType::Bool => u64::from(get::<1>(bytes)?[0] != 0),
            InterfaceType::Char => scalar(u32::from_le_bytes(get(bytes)?))?,
            InterfaceType::String => return self.load_text(bytes),
            InterfaceType::List(list) => return self.load_list(types[list].element, bytes),
            InterfaceType::Record(record) => {
                let mut offset = 0;
                let mut fields = types[record].fields.iter();
                return fields.try_for_each(|field| self.load_part(field.ty, bytes, &mut offset));
            }
            InterfaceType::Tuple(tuple) => {
                let mut offset = 0;
                return types[tuple].types.iter().try_for_each(|ty| self.load_part(*ty, bytes, &mut offset));
            }
            InterfaceType::Enum(_)
            | InterfaceType::Variant(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_) => {
                let (size, offset) = discriminant(types, ty)?;
                let case = little(bytes, size)?;
                self.push(case)?;
                return match payload_of(types, ty, case)? {
                    None => Ok(()),
                    Some(payload) => self.load(payload, bytes.get(offset..).ok_or_else(outside)?),
                };
            }
            InterfaceType::Flags(flags) => {
                let (names, size) = (types[flags].names.len(), types[flags].abi.size32 as usize);
                for at in 0..names.div_ceil(32) {
                    let set = little(bytes.get(4 * at..).ok_or_else(outside)?, size.min(4))?;
                    self.push(known_flags(set as u32, names - 32 * at))?;
                }
                return Ok(());
            }
            _ => bail!("a value that cannot be passed"),
        };
        self.push(word)
    }

    #[inline]
    fn load_part(&mut self, ty: InterfaceType, bytes: &[u8], offset: &mut usize) -> Result<()> {
        let at = self.types.canonical_abi(&ty).next_field32_size(offset);
        self.load(ty, bytes.get(at..).ok_or_else(outside)?)
    }

    fn load_text(&mut self, bytes: &[u8]) -> Result<()> {
        let (address, length) = pair(bytes)?;
        let text = self.memory.get(address..).and_then(|rest| rest.get(..length)).map(std::str::from_utf8);
        match text {
            Some(Ok(text)) if self.utf8 => {
                self.cx.consume_fuel(length)?;
                self.push(length as u64)?;
                self.text.push_str(text);
            }
            // Other encodings are the engine's to read, and errors to tell.
            _ => {
                let bytes = bytes.get(..8).ok_or_else(outside)?;
                let text = <String as Lift>::linear_lift_from_memory(self.cx, InterfaceType::String, bytes)?;
                self.push(text.len() as u64)?;
                self.text.push_str(&text);
            }
        }
        Ok(())
    }

    fn load_list(&mut self, item: InterfaceType, bytes: &[u8]) -> Result<()> {
        let (address, length) = pair(bytes)?;
        let abi = self.types.canonical_abi(&item);
        let size = abi.size32 as usize;
        let end = length.checked_mul(size).and_then(|total| address.checked_add(total));
        let elements = end.and_then(|end| self.memory.get(address..end));
        let Some(elements) = elements else { bail!("list pointer/length out of bounds of memory") };
        if !address.is_multiple_of(abi.align32 as usize) {
            bail!("list pointer is not aligned");
        }
        self.push(length as u64)?;
        if number_size(item).is_some() {
            self.cx.consume_fuel(elements.len())?;
            self.bytes.extend_from_slice(elements);
            return Ok(());
        }
        // Before room is made for them; each pays for its words by itself.
        self.cx.consume_fuel_array(length, size_of::<u64>())?;
        self.words.reserve(length);
        elements.chunks_exact(size.max(1)).try_for_each(|element| self.load(item, element))
    }
}

#[inline]
fn get<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.first_chunk().copied().ok_or_else(outside)
}

/// The number in the first `size` bytes.
fn little(bytes: &[u8], size: usize) -> Result<u64> {
    Ok(match size {
        1 => u64::from(get::<1>(bytes)?[0]),
        2 => u64::from(u16::from_le_bytes(get(bytes)?)),
        _ => u64::from(u32::from_le_bytes(get(bytes)?)),
    })
}

/// The address and length of a string or list.
fn pair(bytes: &[u8]) -> Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = get(bytes)?;
    Ok((u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize))
}

fn scalar(bits: u32) -> Result<u64> {
    Ok(u64::from(u32::from(char::try_from(bits)?)))
}

/// The bits of a word that have one of the `left` names.
fn known_flags(set: u32, left: usize) -> u64 {
    u64::from(if left < 32 { set & ((1 << left) - 1) } else { set })
}

#[cold]
fn outside() -> wasmtime::Error {
    wasmtime::format_err!("pointer out of bounds of memory")
}
