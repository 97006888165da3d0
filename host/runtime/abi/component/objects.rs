//! `wpool:pool`: what a component asks of the pool, and the objects that its
//! tasks share. Each call goes through the [`Desk`] to the host.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

use crate::capabilities::SharedKind;
use crate::runtime::abi::component::link::ComponentState;
use crate::runtime::desk::Desk;
use crate::runtime::trap::HostStop;
use crate::wire::objects::{self, Answer, MAX_VALUE, Request, Wait};

/// Package and version that guests import.
const VERSION: &str = "0.1.0";

/// A call's store.
type Store<'a> = StoreContextMut<'a, ComponentState>;

/// How a queue is known to its guest: by its place among the grants, as are
/// the others.
enum Queue {}
enum Lock {}
enum Semaphore {}
enum Counter {}
enum Event {}

/// `wpool:pool/log`'s level.
#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the engine makes them of what guests give")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<Level> for objects::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

/// Defines all interfaces of the package.
pub(super) fn add(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    interface(linker, "types")?;
    context(&mut interface(linker, "context")?)?;
    notes(linker)?;
    queue(&mut interface(linker, "queue")?)?;
    permits::<Lock>(&mut interface(linker, "lock")?, SharedKind::Lock)?;
    permits::<Semaphore>(&mut interface(linker, "semaphore")?, SharedKind::Semaphore)?;
    counter(&mut interface(linker, "counter")?)?;
    event(&mut interface(linker, "event")?)
}

fn interface<'a>(
    linker: &'a mut Linker<ComponentState>,
    name: &str,
) -> wasmtime::Result<LinkerInstance<'a, ComponentState>> {
    linker.instance(&format!("wpool:pool/{name}@{VERSION}"))
}

/// The desk of a store.
pub(super) fn desk(store: &Store<'_>) -> wasmtime::Result<Arc<Desk>> {
    store.data().wasi.desk().ok_or_else(|| wasmtime::Error::msg("no pool to ask"))
}

/// Asks the host for something of an object.
pub(super) fn ask<T>(store: &Store<'_>, object: &Resource<T>, request: Request) -> wasmtime::Result<Answer>
where
    T: 'static,
{
    let object = u16::try_from(object.rep())?;
    Ok(desk(store)?.ask(object, request)?)
}

/// The same, where a refusal is a mistake of the guest.
fn must<T>(store: &Store<'_>, object: &Resource<T>, request: Request) -> wasmtime::Result<Answer>
where
    T: 'static,
{
    match ask(store, object, request)? {
        Answer::Refused(why) => Err(HostStop::Misuse(why).into()),
        answer => Ok(answer),
    }
}

fn is_yes<T: 'static>(store: &Store<'_>, object: &Resource<T>, request: Request) -> wasmtime::Result<(bool,)> {
    Ok((must(store, object, request)? == Answer::Yes,))
}

fn number<T: 'static>(store: &Store<'_>, object: &Resource<T>, request: Request) -> wasmtime::Result<i64> {
    match must(store, object, request)? {
        Answer::Number(number) => Ok(number),
        _ => Err(wasmtime::Error::msg("the host's answer is no number")),
    }
}

/// A resource type, and its constructor by name.
fn opens<T: 'static>(instance: &mut LinkerInstance<'_, ComponentState>, kind: SharedKind) -> wasmtime::Result<()> {
    instance.resource(kind.as_str(), ResourceType::host::<T>(), |_, _| Ok(()))?;
    instance.func_wrap(&format!("[constructor]{kind}"), move |store: Store<'_>, (name,): (String,)| {
        match desk(&store)?.find(kind, &name) {
            Some(place) => Ok((Resource::<T>::new_own(place.into()),)),
            None => Err(HostStop::NotShared { kind, name }.into()),
        }
    })
}

fn context(instance: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    instance.func_wrap("index", |store: Store<'_>, ()| Ok((desk(&store)?.index(),)))?;
    instance.func_wrap("attempt", |store: Store<'_>, ()| Ok((desk(&store)?.attempt(),)))?;
    instance.func_wrap("remaining", |store: Store<'_>, ()| Ok((desk(&store)?.remaining()?,)))?;
    instance.func_wrap("seed", |store: Store<'_>, ()| Ok((desk(&store)?.seed(),)))
}

fn notes(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    interface(linker, "log")?.func_wrap("write", |store: Store<'_>, (level, message): (Level, String)| {
        Ok(desk(&store)?.write(level.into(), message)?)
    })?;
    interface(linker, "progress")?
        .func_wrap("report", |store: Store<'_>, (done, total): (u64, u64)| Ok(desk(&store)?.report(done, total)?))
}

fn queue(instance: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    type This = Resource<Queue>;
    opens::<Queue>(instance, SharedKind::Queue)?;
    instance.func_wrap(
        "[method]queue.put",
        |store: Store<'_>, (this, value, timeout): (This, Vec<u8>, Option<u64>)| {
            if value.len() > MAX_VALUE {
                let length = value.len();
                let why = format!("a value of {length} bytes was put into a queue, which takes {MAX_VALUE} bytes each");
                return Err(HostStop::Misuse(why).into());
            }
            is_yes(&store, &this, Request::Put(value.into(), Wait::of(timeout)))
        },
    )?;
    instance.func_wrap("[method]queue.get", |store: Store<'_>, (this, timeout): (This, Option<u64>)| {
        Ok((match must(&store, &this, Request::Take(Wait::of(timeout)))? {
            Answer::Value(value) => Some(Vec::from(value)),
            _ => None,
        },))
    })?;
    instance.func_wrap("[method]queue.size", |store: Store<'_>, (this,): (This,)| {
        Ok((number(&store, &this, Request::Size)?.unsigned_abs(),))
    })?;
    instance.func_wrap("[method]queue.task-done", |store: Store<'_>, (this,): (This,)| {
        must(&store, &this, Request::TaskDone).map(drop)
    })?;
    instance.func_wrap("[method]queue.join", |store: Store<'_>, (this, timeout): (This, Option<u64>)| {
        is_yes(&store, &this, Request::Join(Wait::of(timeout)))
    })
}

fn permits<T: 'static>(instance: &mut LinkerInstance<'_, ComponentState>, kind: SharedKind) -> wasmtime::Result<()> {
    opens::<T>(instance, kind)?;
    instance.func_wrap(
        &format!("[method]{kind}.acquire"),
        |store: Store<'_>, (this, timeout): (Resource<T>, Option<u64>)| {
            is_yes(&store, &this, Request::Acquire(Wait::of(timeout)))
        },
    )?;
    instance.func_wrap(&format!("[method]{kind}.release"), |store: Store<'_>, (this,): (Resource<T>,)| {
        must(&store, &this, Request::Release).map(drop)
    })
}

fn counter(instance: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    type This = Resource<Counter>;
    opens::<Counter>(instance, SharedKind::Counter)?;
    instance.func_wrap("[method]counter.add", |store: Store<'_>, (this, delta): (This, i64)| {
        Ok((number(&store, &this, Request::Add(delta))?,))
    })?;
    instance.func_wrap("[method]counter.get", |store: Store<'_>, (this,): (This,)| {
        Ok((number(&store, &this, Request::Count)?,))
    })?;
    instance.func_wrap("[method]counter.set", |store: Store<'_>, (this, value): (This, i64)| {
        Ok((number(&store, &this, Request::Reset(value))?,))
    })
}

fn event(instance: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    type This = Resource<Event>;
    opens::<Event>(instance, SharedKind::Event)?;
    instance.func_wrap("[method]event.set", |store: Store<'_>, (this,): (This,)| {
        must(&store, &this, Request::Raise).map(drop)
    })?;
    instance.func_wrap("[method]event.clear", |store: Store<'_>, (this,): (This,)| {
        must(&store, &this, Request::Lower).map(drop)
    })?;
    instance.func_wrap("[method]event.is-set", |store: Store<'_>, (this,): (This,)| {
        is_yes(&store, &this, Request::IsRaised)
    })?;
    instance.func_wrap("[method]event.wait", |store: Store<'_>, (this, timeout): (This, Option<u64>)| {
        is_yes(&store, &this, Request::Await(Wait::of(timeout)))
    })
}
