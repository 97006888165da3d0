//! Bytes in, bytes out: the item is written to memory that the guest
//! allocates, the result comes back as an address and a length.

use wasmtime::{Memory, Module, ModuleExport, ValRaw};

use crate::describe::Allocator;
use crate::limits::Limits;
use crate::outcome::{Failure, Form, Kind};
use crate::runtime::abi::payload::{Encoder, bad_output, guest_error, item_bytes};
use crate::runtime::call::NumberFunc;
use crate::runtime::core_guest::{Live, signature};
use crate::runtime::instance::TaskInput;
use crate::runtime::trap::{self, Phase};
use crate::wire::message::{ItemAs, Refusal, ResultAs, TaskSpec};

/// Set in a result's length when the task failed.
const ERROR: u32 = 1 << 31;

/// A function over bytes, ready to be called.
pub struct BytesCall {
    func: NumberFunc,
    memory: ModuleExport,
    allocator: NumberFunc,
    realloc: bool,
    deallocator: Option<NumberFunc>,
    item_as: ItemAs,
    encoder: Encoder,
}

/// The export of a core module that allocates for byte payloads.
#[must_use]
pub fn allocator(has: impl Fn(&str, &str) -> bool) -> Option<Allocator> {
    let plain = ["alloc", "allocate", "malloc"].into_iter().find(|name| has(name, "(i32)->i32"));
    let found = |name: &str, realloc| Allocator { name: name.to_owned(), realloc };
    match plain {
        Some(name) => Some(found(name, false)),
        None if has("cabi_realloc", "(i32,i32,i32,i32)->i32") => Some(found("cabi_realloc", true)),
        None => None,
    }
}

/// The export that frees a result, `dealloc` or `free`.
#[must_use]
pub fn deallocator(has: impl Fn(&str, &str) -> bool) -> Option<&'static str> {
    if has("dealloc", "(i32,i32)->") {
        Some("dealloc")
    } else if has("free", "(i32)->") {
        Some("free")
    } else {
        None
    }
}

impl BytesCall {
    /// Plans calls of the function `name`; results are freed where instances
    /// are kept.
    ///
    /// # Errors
    /// A module without the exports or the type that the ABI needs.
    pub fn new(name: &str, module: &Module, task: &TaskSpec, reuse: bool) -> Result<Self, Refusal> {
        let has = |export: &str, wanted: &str| signature(module, export).is_some_and(|found| found == wanted);
        let refused = |what: &str| Refusal::module(format!("{name:?} cannot be called with bytes: {what}"));
        let func = NumberFunc::new(module, name).filter(|_| has(name, "(i32,i32)->i64"));
        let func = func.ok_or_else(|| refused("it is no (i32, i32) -> i64 function"))?;
        let memory = module.get_export("memory").filter(|ty| ty.memory().is_some());
        let memory = memory.and(module.get_export_index("memory"));
        let memory = memory.ok_or_else(|| refused("the module exports no memory"))?;
        let allocator = allocator(has)
            .and_then(|found| Some((NumberFunc::new(module, &found.name)?, found.realloc)))
            .ok_or_else(|| refused("the module exports no alloc, allocate, malloc or cabi_realloc"))?;
        let deallocator = deallocator(has).filter(|_| reuse).and_then(|name| NumberFunc::new(module, name));
        let result = match &task.result {
            None => ResultAs::Json,
            Some(ResultAs::File(_)) => return Err(refused("only commands give a file as result")),
            Some(other) => other.clone(),
        };
        let encoder = Encoder { result, encode: task.encode, limits: task.limits.clone() };
        let (allocator, realloc) = allocator;
        Ok(Self { func, memory, allocator, realloc, deallocator, item_as: task.item_as, encoder })
    }

    /// Calls the function with an item's bytes.
    ///
    /// # Errors
    /// Whatever kept the task from a value.
    pub fn run(&self, live: &mut Live, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let item = item_bytes(task.item, task.form, self.item_as)?;
        let length = i32::try_from(item.len()).map_err(|_| too_long(&self.encoder.limits))?;
        let memory = live.memory(&self.memory).ok_or_else(|| bad_output("the module's memory is gone"))?;
        let pointer = self.allocate(live, length)?;
        let at = pointer as u32 as usize;
        if memory.write(&mut live.store, at, &item).is_err() || (pointer == 0 && length > 0) {
            let refused = live.store.data().meter.just_refused().is_some();
            return Err(if refused {
                trap::finish(trap::out_of_memory(&live.store.data().meter), live.store.data(), Phase::Task)
            } else {
                bad_output(format!("the allocator gave {pointer:#x} for {length} bytes, which is not in memory"))
            });
        }
        let packed = self.call(live, pointer, length)?;
        let (address, length) = ((packed >> 32) as u32, packed as u32);
        let taken = self.take(live, memory, address, length, out);
        self.free(live, address, length & !ERROR)?;
        taken
    }

    fn allocate(&self, live: &mut Live, length: i32) -> Result<i32, Failure> {
        let mut slots = if self.realloc { [0, 0, 1, length] } else { [length, 0, 0, 0] }.map(ValRaw::i32);
        live.call(&self.allocator, &mut slots).map_err(|error| live.failure(&error, Phase::Task))?;
        Ok(slots[0].get_i32())
    }

    fn call(&self, live: &mut Live, pointer: i32, length: i32) -> Result<u64, Failure> {
        let mut slots = [ValRaw::i32(pointer), ValRaw::i32(length)];
        live.call(&self.func, &mut slots).map_err(|error| live.failure(&error, Phase::Task))?;
        Ok(slots[0].get_u64())
    }

    /// Reads the result, or the failure, out of the guest's memory.
    fn take(&self, live: &Live, memory: Memory, address: u32, length: u32, out: &mut Vec<u8>) -> Result<Form, Failure> {
        let failed = length & ERROR != 0;
        let length = (length & !ERROR) as usize;
        let start = address as usize;
        let bytes = start.checked_add(length).and_then(|end| memory.data(&live.store).get(start..end));
        let Some(bytes) = bytes else {
            return Err(bad_output(format!("the result is {length} bytes at {address:#x}, which is not in memory")));
        };
        if length as u64 > self.encoder.limits.max_result {
            return Err(trap::result_too_large(&self.encoder.limits));
        }
        if failed {
            return Err(trap::finish(guest_error(bytes, &self.encoder.result), live.store.data(), Phase::Task));
        }
        self.encoder.put(bytes, out)
    }

    fn free(&self, live: &mut Live, address: u32, length: u32) -> Result<(), Failure> {
        let Some(deallocator) = &self.deallocator else { return Ok(()) };
        // `free` takes the address alone and does not see the length.
        let mut slots = [ValRaw::u32(address), ValRaw::u32(length)];
        live.call(deallocator, &mut slots).map_err(|error| live.failure(&error, Phase::Task))
    }
}

/// An item that no 32-bit memory can hold.
fn too_long(limits: &Limits) -> Failure {
    let hit = crate::outcome::LimitHit::new("max-item", limits.max_item, "bytes", "--max-item");
    Failure::new(Kind::BadInput, "the item is larger than a 32-bit memory").with(|detail| detail.limit = Some(hit))
}
