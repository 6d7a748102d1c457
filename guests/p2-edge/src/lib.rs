//! A behaviour a path over `wasi:http/incoming-handler@0.2`; `p3-edge` answers the same paths alike over 0.3.
//! `guests/README.md` lists them. This file owns the way in; each module names its paths in its `find`.

mod answers;
mod bodies;
mod egress;
mod failures;
mod platform;
mod reply;

use edge_cases::Target;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Edge;

/// One request on its way to the behaviour its path names.
struct Call {
    target: Target,
    request: IncomingRequest,
    out: ResponseOutparam,
}

/// A behaviour: it consumes the call, and answers it or fails to on purpose.
type Behaviour = fn(Call);

impl wasip2::exports::http::incoming_handler::Guest for Edge {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::parse(&request.path_with_query().unwrap_or_default());
        let name = target.name();
        let behaviour = answers::find(name)
            .or_else(|| bodies::find(name))
            .or_else(|| platform::find(name))
            .or_else(|| egress::find(name))
            .or_else(|| failures::find(name))
            .unwrap_or(answers::not_found);
        behaviour(Call { target, request, out });
    }
}

wasip2::http::proxy::export!(Edge);
