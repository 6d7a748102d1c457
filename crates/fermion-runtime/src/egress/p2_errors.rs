//! `http-error-code` of WASI 0.2. The engine's own knows only errors of its bindings; a body that breaks carries the
//! host's error, so a guest that reads one would learn nothing. WASI 0.3 gives the code with the error.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::state::State;

/// The interface, in the version of the engine's bindings, which stands for all of 0.2.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Puts the function in the place of the engine's. To be called after the engine's have been linked.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(TYPES)?.func_wrap(
        "http-error-code",
        |mut store, (error,): (Resource<wasmtime::Error>,)| {
            let http = wasmtime_wasi_http::WasiHttpView::http(store.data_mut());
            let error = http.table.get(&error)?;
            let code = error.downcast_ref::<ErrorCode>().cloned();
            Ok((code.or_else(|| error.downcast_ref::<Error>().and_then(code_of)),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What can go wrong with a body, of a request as well as of an upstream's answer.
fn code_of(error: &Error) -> Option<ErrorCode> {
    Some(match error {
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(*size),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        _ => return None,
    })
}
