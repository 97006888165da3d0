//! Snapshots: a module that has run its initializer, written as a module
//! again. Wizer makes the module show its state and writes it back into the
//! binary; what is called, and under which limits, is [`super::Guest`]'s
//! business.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmparser::{CanonicalFunction, Parser, Payload};
use wasmtime::component::{Lift, WasmList};
use wasmtime::{Extern, Val};
use wasmtime_wizer::{ComponentInstanceState, InstanceState, SnapshotVal, ValType, Wizer};

use crate::describe::Shape;
use crate::runtime::abi::component;
use crate::runtime::componentize::componentize;
use crate::runtime::core_guest;
use crate::runtime::validate::{Binary, kind, to_binary};
use crate::wire::message::Refusal;

/// What to do where there can be no snapshot.
const WAY_OUT: &str = "--isolation reuse runs the initializer once in each worker instead";

/// A binary whose code shows all of its state.
///
/// # Errors
/// A module of whose state a snapshot would lose a part.
pub fn instrument(binary: &[u8], shape: Shape) -> Result<Vec<u8>, Refusal> {
    if makes_resources(binary) {
        return Err(refused("the component makes resources of its own, whose handles are no memory"));
    }
    guarded(|| match shape {
        Shape::Core => wizer().instrument(binary).map(|(_, code)| code),
        Shape::Component => wizer().instrument_component(binary).map(|(_, code)| code),
    })
}

/// The core module in the file `origin`, in the state of its instance.
///
/// # Errors
/// A state that no module can begin with.
pub fn of_core(origin: &[u8], live: &mut core_guest::Live) -> Result<Vec<u8>, Refusal> {
    let binary = to_binary(origin)?;
    let mut state = Core { live, lost: false };
    let taken = guarded(|| {
        let wizer = wizer();
        let (module, _code) = wizer.instrument(&binary)?;
        at_once(wizer.snapshot(&module, &mut state))
    });
    finish(taken, state.lost)
}

/// The component in the file `origin`, or that is made of the core module
/// there, in the state of its instance.
///
/// # Errors
/// A state that no component can begin with.
pub fn of_component(origin: &[u8], live: &mut component::Live) -> Result<Vec<u8>, Refusal> {
    let binary = to_binary(origin)?;
    let binary: Cow<'_, [u8]> = match kind(&binary)? {
        Binary::CoreWithTypes => componentize(&binary)?.into(),
        Binary::Core | Binary::Component => binary,
    };
    let mut state = Component { live, lost: false };
    let taken = guarded(|| {
        let wizer = wizer();
        let (component, _code) = wizer.instrument_component(&binary)?;
        at_once(wizer.snapshot_component(&component, &mut state))
    });
    finish(taken, state.lost)
}

/// Whether a component may hold handles that only the engine knows.
fn makes_resources(binary: &[u8]) -> bool {
    let payloads = Parser::new(0).parse_all(binary).map_while(Result::ok);
    let canonicals = payloads.filter_map(|payload| match payload {
        Payload::ComponentCanonicalSection(section) => Some(section),
        _ => None,
    });
    let mut functions = canonicals.flatten().map_while(Result::ok);
    functions.any(|function| matches!(function, CanonicalFunction::ResourceNew { .. }))
}

/// A refusal of what a snapshot would lose.
#[must_use]
pub fn refused(what: &str) -> Refusal {
    Refusal::module(format!("a snapshot after the initializer cannot be taken: {what} ({WAY_OUT})"))
}

/// The initializer stays exported, so that the snapshot has the functions of
/// the module.
fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    wizer
}

/// Wizer answers some modules that it does not know with a panic.
fn guarded<T>(act: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, Refusal> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result.map_err(|error| refused(&format!("{error:#}"))),
        Err(_panic) => Err(refused("the module is built in a way that snapshots do not know")),
    }
}

fn finish(taken: Result<Vec<u8>, Refusal>, lost: bool) -> Result<Vec<u8>, Refusal> {
    if lost { Err(refused("a part of the state could not be read: a memory has its largest size")) } else { taken }
}

/// The result of a future that waits for nothing: all that it calls is done
/// when it returns.
fn at_once<T>(future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(wasmtime::Error::msg("the state is not there")),
    }
}

/// What wizer asks of a core instance. It takes no errors: they are remembered.
struct Core<'a> {
    live: &'a mut core_guest::Live,
    lost: bool,
}

impl InstanceState for Core<'_> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.live.export(name).and_then(Extern::into_global);
        match global.map(|global| global.get(&mut self.live.store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(bits)) => SnapshotVal::F32(bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(bits),
            Some(Val::V128(value)) => SnapshotVal::V128(value.as_u128()),
            _ => {
                self.lost = true;
                SnapshotVal::I32(0)
            }
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.live.export(name).and_then(Extern::into_memory) {
            Some(memory) => contents(memory.data(&self.live.store)),
            None => {
                self.lost = true;
                contents(&[]);
            }
        }
    }
}

/// The same for components, whose state is behind functions that wizer added.
struct Component<'a> {
    live: &'a mut component::Live,
    lost: bool,
}

impl Component<'_> {
    fn get<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> Option<R> {
        let component::Live { store, instance: live, .. } = &mut *self.live;
        let interface = live.get_export_index(&mut *store, None, instance)?;
        let export = live.get_export_index(&mut *store, Some(&interface), function)?;
        let function = live.get_typed_func::<(), (R,)>(&mut *store, &export).ok()?;
        function.call(&mut *store, ()).ok().map(|(value,)| value)
    }

    fn number<R: Lift + Default + 'static>(&mut self, instance: &str, function: &str) -> R {
        let value = self.get(instance, function);
        self.lost |= value.is_none();
        value.unwrap_or_default()
    }
}

impl ComponentInstanceState for Component<'_> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.get::<WasmList<u8>>(instance, func) {
            Some(list) => contents(list.as_le_slice(&self.live.store)),
            None => {
                self.lost = true;
                contents(&[]);
            }
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.number(instance, func)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.number(instance, func)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.number::<f32>(instance, func).to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.number::<f64>(instance, func).to_bits()
    }
}
