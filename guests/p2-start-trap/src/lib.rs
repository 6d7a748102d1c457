//! Traps while it is being instantiated, before any request reaches it: a constructor runs the instruction that does.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Never;

extern "C" fn trap() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = trap;

impl wasip2::exports::http::incoming_handler::Guest for Never {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {}
}

wasip2::http::proxy::export!(Never);
