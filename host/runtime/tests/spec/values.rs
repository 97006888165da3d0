//! Arguments and results as scripts write them.

use wasmtime::{AnyRef, ExternRef, HeapType, Store, Val};
use wast::core::{AbstractHeapType, HeapType as TextType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// An argument as a value of the store.
pub fn argument(store: &mut Store<()>, argument: &WastArg<'_>) -> Result<Val, String> {
    let WastArg::Core(core) = argument else { return Err("a component's value".to_owned()) };
    Ok(match core {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
        WastArgCore::RefNull(ty) => Val::null_ref(&top(ty)?),
        WastArgCore::RefExtern(number) => Val::ExternRef(Some(host(store, *number)?)),
        WastArgCore::RefHost(number) => {
            let host = host(store, *number)?;
            Val::AnyRef(Some(AnyRef::convert_extern(store, host).map_err(|error| error.to_string())?))
        }
    })
}

fn host(store: &mut Store<()>, number: u32) -> Result<wasmtime::Rooted<ExternRef>, String> {
    ExternRef::new(store, number).map_err(|error| error.to_string())
}

fn top(ty: &TextType<'_>) -> Result<HeapType, String> {
    let TextType::Abstract { ty, .. } = ty else { return Err("a null of a named type".to_owned()) };
    Ok(match ty {
        AbstractHeapType::Func | AbstractHeapType::NoFunc => HeapType::Func,
        AbstractHeapType::Extern | AbstractHeapType::NoExtern => HeapType::Extern,
        AbstractHeapType::Exn | AbstractHeapType::NoExn => HeapType::Exn,
        _ => HeapType::Any,
    })
}

/// Compares all results.
pub fn match_all(store: &mut Store<()>, found: &[Val], expected: &[WastRet<'_>]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} results instead of {}", found.len(), expected.len()));
    }
    for (found, expected) in found.iter().zip(expected) {
        let WastRet::Core(expected) = expected else { return Err("a component's value".to_owned()) };
        if !matches(store, found, expected)? {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
    }
    Ok(())
}

fn matches(store: &mut Store<()>, found: &Val, expected: &WastRetCore<'_>) -> Result<bool, String> {
    let told = |error: wasmtime::Error| error.to_string();
    Ok(match (found, expected) {
        (found, WastRetCore::Either(cases)) => {
            for case in cases {
                if matches(store, found, case)? {
                    return Ok(true);
                }
            }
            false
        }
        (Val::I32(found), WastRetCore::I32(expected)) => found == expected,
        (Val::I64(found), WastRetCore::I64(expected)) => found == expected,
        (Val::F32(found), WastRetCore::F32(expected)) => f32_is(*found, expected),
        (Val::F64(found), WastRetCore::F64(expected)) => f64_is(*found, expected),
        (Val::V128(found), WastRetCore::V128(expected)) => v128_is(found.as_u128(), expected),
        (
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None),
            WastRetCore::RefNull(_),
        ) => true,
        (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
        (Val::ExternRef(Some(found)), WastRetCore::RefExtern(Some(expected))) => {
            let data = found.data(&*store).map_err(told)?;
            data.and_then(|data| data.downcast_ref::<u32>()) == Some(expected)
        }
        (Val::AnyRef(Some(found)), WastRetCore::RefHost(expected)) => {
            let found = ExternRef::convert_any(&mut *store, *found).map_err(told)?;
            let data = found.data(&*store).map_err(told)?;
            data.and_then(|data| data.downcast_ref::<u32>()) == Some(expected)
        }
        (Val::FuncRef(Some(_)), WastRetCore::RefFunc(_)) => true,
        (Val::AnyRef(Some(_)), WastRetCore::RefAny) => true,
        (Val::AnyRef(Some(found)), WastRetCore::RefEq) => found.is_eqref(&*store).map_err(told)?,
        (Val::AnyRef(Some(found)), WastRetCore::RefArray) => found.is_array(&*store).map_err(told)?,
        (Val::AnyRef(Some(found)), WastRetCore::RefStruct) => found.is_struct(&*store).map_err(told)?,
        (Val::AnyRef(Some(found)), WastRetCore::RefI31) => found.is_i31(&*store).map_err(told)?,
        _ => false,
    })
}

/// The quiet bit, and no other of the payload.
const CANONICAL_32: u32 = 0x7fc0_0000;
const CANONICAL_64: u64 = 0x7ff8_0000_0000_0000;

fn f32_is(found: u32, expected: &NanPattern<F32>) -> bool {
    match expected {
        NanPattern::CanonicalNan => found & 0x7fff_ffff == CANONICAL_32,
        NanPattern::ArithmeticNan => found & CANONICAL_32 == CANONICAL_32,
        NanPattern::Value(value) => found == value.bits,
    }
}

fn f64_is(found: u64, expected: &NanPattern<F64>) -> bool {
    match expected {
        NanPattern::CanonicalNan => found & 0x7fff_ffff_ffff_ffff == CANONICAL_64,
        NanPattern::ArithmeticNan => found & CANONICAL_64 == CANONICAL_64,
        NanPattern::Value(value) => found == value.bits,
    }
}

fn v128_is(found: u128, expected: &V128Pattern) -> bool {
    let bytes = found.to_le_bytes();
    let lane = |size: usize, index: usize| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(&bytes[index * size..][..size]);
        u64::from_le_bytes(wide)
    };
    match expected {
        V128Pattern::I8x16(lanes) => (0..16).all(|at| lane(1, at) as i8 == lanes[at]),
        V128Pattern::I16x8(lanes) => (0..8).all(|at| lane(2, at) as i16 == lanes[at]),
        V128Pattern::I32x4(lanes) => (0..4).all(|at| lane(4, at) as i32 == lanes[at]),
        V128Pattern::I64x2(lanes) => (0..2).all(|at| lane(8, at) as i64 == lanes[at]),
        V128Pattern::F32x4(lanes) => (0..4).all(|at| f32_is(lane(4, at) as u32, &lanes[at])),
        V128Pattern::F64x2(lanes) => (0..2).all(|at| f64_is(lane(8, at), &lanes[at])),
    }
}
