//! A component's sockets: refusals that name their flag, and names that are
//! answered from what the host resolved. The sockets themselves are the
//! engine's, which asks a [`Door`](crate::runtime::net::Door) about addresses.

use std::net::IpAddr;
use std::vec;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::instance_network::Host as _;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, TcpSocket, UdpSocket, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView as _;
use wasmtime_wasi::{WasiView as _, async_trait};

use crate::runtime::abi::component::link::ComponentState;

/// Interfaces in the version that the engine's WASI defines.
const INSTANCE_NETWORK: &str = "wasi:sockets/instance-network@0.2.12";
const CREATE_TCP: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const CREATE_UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";
const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// The flag that grants all this.
pub const FLAG: &str = "--allow-net";

/// What the functions give.
type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Notices guests that look for a network where none is granted: they ask for
/// it, or for a socket, before anything else.
///
/// # Errors
/// None in practice; the linker's own.
pub fn note_denials(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut network = linker.instance(INSTANCE_NETWORK)?;
    network.func_wrap("instance-network", |mut store: StoreContextMut<'_, ComponentState>, ()| {
        store.data_mut().deny(FLAG);
        Ok((store.data_mut().sockets().instance_network()?,))
    })?;
    linker.instance(CREATE_TCP)?.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, ComponentState>, (_,): (IpAddressFamily,)| -> Answer<Resource<TcpSocket>> {
            store.data_mut().deny(FLAG);
            Ok((Err(ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance(CREATE_UDP)?.func_wrap(
        "create-udp-socket",
        |mut store: StoreContextMut<'_, ComponentState>, (_,): (IpAddressFamily,)| -> Answer<Resource<UdpSocket>> {
            store.data_mut().deny(FLAG);
            Ok((Err(ErrorCode::AccessDenied),))
        },
    )
}

/// The addresses of a name that were not taken yet.
struct Addresses(vec::IntoIter<IpAddr>);

#[async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {}
}

/// Answers names in place of the engine, which would ask the system.
///
/// # Errors
/// None in practice; the linker's own.
pub fn answer_names(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance(LOOKUP)?;
    lookup.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store, rep| {
        store.data_mut().ctx().table.delete(Resource::<Addresses>::new_own(rep))?;
        Ok(())
    })?;
    lookup.func_wrap("resolve-addresses", resolve)?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, ComponentState>, (stream,): (Resource<Addresses>,)| -> Answer<_> {
            let next = store.data_mut().ctx().table.get_mut(&stream)?.0.next();
            Ok((Ok(next.map(IpAddress::from)),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, ComponentState>, (stream,): (Resource<Addresses>,)| {
            let ready: Resource<DynPollable> = subscribe(store.data_mut().ctx().table, stream)?;
            Ok((ready,))
        },
    )
}

fn resolve(
    mut store: StoreContextMut<'_, ComponentState>,
    (network, name): (Resource<Network>, String),
) -> Answer<Resource<Addresses>> {
    let state = store.data_mut();
    state.ctx().table.get(&network)?;
    Ok((match state.wasi.door.look_up(&name) {
        Some(addresses) => Ok(state.ctx().table.push(Addresses(addresses.into_iter()))?),
        None => Err(ErrorCode::AccessDenied),
    },))
}
