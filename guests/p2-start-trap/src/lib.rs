//! Traps while it is being instantiated, before any request reaches it: a reactor's initialiser is called at
//! instantiation, and this one runs the instruction that traps.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Never;

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}

impl wasip2::exports::http::incoming_handler::Guest for Never {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {}
}

wasip2::http::proxy::export!(Never);
