//! A behaviour a path over `wasi:http/handler@0.3`; `p2-edge` answers the same paths alike over 0.2.
//! `guests/README.md` lists them. This file owns the way in; each module names its paths in its `find`.

mod answers;
mod bodies;
mod egress;
mod failures;
mod platform;
mod reply;

use std::pin::Pin;

use edge_cases::Target;
use wasip3::http::types::{ErrorCode, Request, Response};

struct Edge;

/// One request on its way to the behaviour its path names.
struct Call {
    target: Target,
    request: Request,
}

type Answer = Result<Response, ErrorCode>;

/// A behaviour: it consumes the call, and answers it or fails to on purpose.
type Behaviour = fn(Call) -> Pin<Box<dyn Future<Output = Answer>>>;

impl wasip3::exports::http::handler::Guest for Edge {
    async fn handle(request: Request) -> Answer {
        let target = Target::parse(&request.get_path_with_query().unwrap_or_default());
        let name = target.name();
        let behaviour = answers::find(name)
            .or_else(|| bodies::find(name))
            .or_else(|| platform::find(name))
            .or_else(|| egress::find(name))
            .or_else(|| failures::find(name))
            .unwrap_or(answers::NOT_FOUND);
        behaviour(Call { target, request }).await
    }
}

wasip3::http::service::export!(Edge);
