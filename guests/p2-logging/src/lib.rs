//! Says something through `wasi:logging`: `/LEVEL/CONTEXT/MESSAGE` through the draft, and the same with `plain ` before
//! the message through the interface without a version.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: r#"
        package fermion:guest;

        world logging-guest {
            import wasi:logging/logging@0.1.0-draft;
            import wasi:logging/logging;
        }

        package wasi:logging@0.1.0-draft {
            interface logging {
                enum level { trace, debug, info, warn, error, critical }
                log: func(level: level, context: string, message: string);
            }
        }

        package wasi:logging {
            interface logging {
                enum level { trace, debug, info, warn, error, critical }
                log: func(level: level, context: string, message: string);
            }
        }
    "#,
    generate_all,
});

use wasi::logging::logging as plain;
use wasi::logging0_1_0_draft::logging as draft;

struct Logging;

impl wasip2::exports::http::incoming_handler::Guest for Logging {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let (level, context, message) = (part(), part(), part());
        let (drafted, unversioned) = match level {
            "trace" => (draft::Level::Trace, plain::Level::Trace),
            "debug" => (draft::Level::Debug, plain::Level::Debug),
            "info" => (draft::Level::Info, plain::Level::Info),
            "warn" => (draft::Level::Warn, plain::Level::Warn),
            "error" => (draft::Level::Error, plain::Level::Error),
            _ => (draft::Level::Critical, plain::Level::Critical),
        };
        draft::log(drafted, context, message);
        plain::log(unversioned, context, &format!("plain {message}"));
        let response = OutgoingResponse::new(Fields::new());
        let outgoing = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        drop(OutgoingBody::finish(outgoing, None));
    }
}

wasip2::http::proxy::export!(Logging);
