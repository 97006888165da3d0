//! The standard `wasi:keyvalue`: each store is an object that tasks share.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use crate::capabilities::SharedKind;
use crate::runtime::abi::component::link::ComponentState;
use crate::runtime::abi::component::objects::{ask, desk};
use crate::wire::objects::{Answer, MAX_KEY, MAX_VALUE, Request};

const STORE: &str = "wasi:keyvalue/store@0.2.0-draft";
const ATOMICS: &str = "wasi:keyvalue/atomics@0.2.0-draft";

/// A call's store.
type Store<'a> = StoreContextMut<'a, ComponentState>;

/// How an open store is known to its guest: by its place among the grants.
enum Bucket {}

/// Why an operation failed.
#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

/// Some of a store's keys.
#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<u64>,
}

/// What an operation gives.
type Outcome<T> = wasmtime::Result<(Result<T, Error>,)>;

/// Defines its interfaces.
pub(super) fn add(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    type This = Resource<Bucket>;
    let mut instance = linker.instance(STORE)?;
    instance.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))?;
    instance.func_wrap("open", |mut store: Store<'_>, (name,): (String,)| {
        let place = desk(&store)?.find(SharedKind::KeyValue, &name);
        if place.is_none() {
            store.data_mut().deny("--shared");
        }
        Ok((place.map(|place| This::new_own(place.into())).ok_or(Error::AccessDenied),))
    })?;
    instance.func_wrap("[method]bucket.get", |store: Store<'_>, (this, key): (This, String)| {
        done(&store, &this, &key, Request::Get, |answer| match answer {
            Answer::Value(value) => Some(Vec::from(value)),
            _ => None,
        })
    })?;
    instance.func_wrap("[method]bucket.set", |store: Store<'_>, (this, key, value): (This, String, Vec<u8>)| {
        if value.len() > MAX_VALUE {
            let length = value.len();
            return Ok((Err(Error::Other(format!("the value has {length} bytes, more than {MAX_VALUE}"))),));
        }
        done(&store, &this, &key, |key| Request::Set(key, value.into()), |_| ())
    })?;
    instance.func_wrap("[method]bucket.delete", |store: Store<'_>, (this, key): (This, String)| {
        done(&store, &this, &key, Request::Delete, |_| ())
    })?;
    instance.func_wrap("[method]bucket.exists", |store: Store<'_>, (this, key): (This, String)| {
        done(&store, &this, &key, Request::Exists, |answer| answer == Answer::Yes)
    })?;
    instance.func_wrap("[method]bucket.list-keys", |store: Store<'_>, (this, cursor): (This, Option<u64>)| {
        done(
            &store,
            &this,
            "",
            |_| Request::Keys(cursor.unwrap_or(0)),
            |answer| match answer {
                Answer::Keys(keys, cursor) => KeyResponse { keys, cursor },
                _ => KeyResponse { keys: Vec::new(), cursor: None },
            },
        )
    })?;
    let mut atomics = linker.instance(ATOMICS)?;
    atomics.func_wrap("increment", |store: Store<'_>, (this, key, delta): (This, String, u64)| {
        done(
            &store,
            &this,
            &key,
            |key| Request::Increment(key, delta),
            |answer| match answer {
                Answer::Number(sum) => sum.cast_unsigned(),
                _ => 0,
            },
        )
    })
}

/// Asks for something under a key, and reads what comes back.
fn done<T>(
    store: &Store<'_>,
    bucket: &Resource<Bucket>,
    key: &str,
    request: impl FnOnce(String) -> Request,
    read: impl FnOnce(Answer) -> T,
) -> Outcome<T> {
    if key.len() > MAX_KEY {
        let length = key.len();
        return Ok((Err(Error::Other(format!("the key has {length} bytes, more than {MAX_KEY}"))),));
    }
    Ok((match ask(store, bucket, request(key.to_owned()))? {
        Answer::Refused(why) => Err(Error::Other(why)),
        answer => Ok(read(answer)),
    },))
}
