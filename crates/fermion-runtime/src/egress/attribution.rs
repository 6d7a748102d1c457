//! `wasi:http/client` of WASI 0.3: says in which request's name an outgoing one is, where several are in one instance,
//! and hands it to the engine's own implementation.

use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p3::bindings::http::{client, types};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView, WasiHttpView as _};

use crate::state::State;

type Refused = TrappableError<types::ErrorCode>;

/// Outgoing requests, each in somebody's name.
struct Attributed;

impl HasData for Attributed {
    type Data<'a> = WasiHttpCtxView<'a>;
}

impl client::HostWithStore<State> for Attributed {
    async fn send(
        accessor: &Accessor<State, Self>,
        request: Resource<Request>,
    ) -> Result<Resource<Response>, Refused> {
        accessor
            .with(|mut access| name(access.as_context_mut()))
            .map_err(Refused::trap)?;
        WasiHttp::send(&accessor.with_getter::<WasiHttp>(State::http), request).await
    }
}

/// The guest that calls is known here, and nobody else runs before the request has been counted.
fn name(mut store: wasmtime::StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    let Some(desk) = store.data().desk().cloned() else {
        return Ok(());
    };
    let task = store.async_call_stack()?.last();
    store.data_mut().send_for(desk.meter(task));
    Ok(())
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    client::add_to_linker::<_, Attributed>(linker, State::http)?;
    types::add_to_linker::<_, WasiHttp>(linker, State::http)
}
