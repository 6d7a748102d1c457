//! Plain answers: what a request looks like to the guest, statuses, headers good and bad.

use std::fmt::Write as _;

use edge_cases::attempts::HEADERS;
use edge_cases::wit_name;
use wasip3::http::types::{Fields, Method, Response, Scheme};
use wasip3::wit_future;

use crate::reply::{self, Reply};
use crate::{Answer, Behaviour, Call};

pub(crate) const NOT_FOUND: Behaviour = |_| Box::pin(async { reply::text(404, "no such path\n") });

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "" | "hello" => |_| Box::pin(async { reply::text(200, edge_cases::HELLO) }),
        "info" => |call| Box::pin(async move { info(&call) }),
        "status" => |call| Box::pin(async move { status(&call) }),
        "no-body" => |_| Box::pin(async { Ok(bodyless(204)) }),
        "two-cookies" => |_| Box::pin(async { two_cookies() }),
        "many-headers" => |call| Box::pin(async move { many_headers(&call) }),
        "big-header" => |call| Box::pin(async move { big_header(&call) }),
        "bad-headers" => |call| Box::pin(async move { bad_headers(&call) }),
        "state" => |_| Box::pin(async { state() }),
        _ => return None,
    })
}

fn info(call: &Call) -> Answer {
    let request = &call.request;
    let mut text = String::new();
    let _ = writeln!(text, "method {}", method_name(&request.get_method()));
    let _ = writeln!(text, "path {}", request.get_path_with_query().unwrap_or_default());
    let _ = writeln!(
        text,
        "scheme {}",
        request
            .get_scheme()
            .map_or(String::new(), |scheme| scheme_name(&scheme))
    );
    let _ = writeln!(text, "authority {}", request.get_authority().unwrap_or_default());
    for (name, value) in request.get_headers().copy_all() {
        let _ = writeln!(text, "header {name}: {}", String::from_utf8_lossy(&value));
    }
    reply::text(200, text)
}

fn status(call: &Call) -> Answer {
    let code = call
        .target
        .number(0)
        .and_then(|code| u16::try_from(code).ok())
        .unwrap_or(0);
    if matches!(code, 204 | 304) {
        return Ok(bodyless(code));
    }
    let (response, reply) = Reply::start(200, &[("content-type", "text/plain")]);
    match response.set_status_code(code) {
        Ok(()) => Ok(reply::send(response, reply, format!("status {code}\n"))),
        Err(()) => reply::text(500, "status refused\n"),
    }
}

fn bodyless(status: u16) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), None, trailers);
    response
        .set_status_code(status)
        .expect("the status is an acceptable one");
    response
}

fn two_cookies() -> Answer {
    reply::whole(
        200,
        &[("set-cookie", "a=1"), ("set-cookie", "b=2")],
        "two cookies\n",
    )
}

fn many_headers(call: &Call) -> Answer {
    let fields = Fields::new();
    for index in 0..call.target.number(0).unwrap_or(1) {
        fields
            .append(&format!("x-h-{index}"), index.to_string().as_bytes())
            .expect("the header is an acceptable one");
    }
    send_fields(fields)
}

fn big_header(call: &Call) -> Answer {
    let fields = Fields::new();
    let value = "b".repeat(call.target.number(0).unwrap_or(1));
    fields
        .append("x-big", value.as_bytes())
        .expect("the header is an acceptable one");
    send_fields(fields)
}

fn send_fields(fields: Fields) -> Answer {
    let (response, reply) = Reply::start_with(200, fields);
    Ok(reply::send(response, reply, "headers\n"))
}

fn bad_headers(call: &Call) -> Answer {
    let mut text = String::new();
    for (label, name, value) in HEADERS {
        let outcome = match Fields::new().append(name, value) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => format!("refused {}", wit_name(&format!("{error:?}"))),
        };
        let _ = writeln!(text, "{label}: {outcome}");
    }
    let outcome = match call.request.get_headers().append("x-value", b"x") {
        Ok(()) => "accepted".to_owned(),
        Err(error) => format!("refused {}", wit_name(&format!("{error:?}"))),
    };
    let _ = writeln!(text, "request headers: {outcome}");
    reply::text(200, text)
}

/// How often this instance has been here: 1 for a fresh one.
fn state() -> Answer {
    use std::sync::atomic::{AtomicU64, Ordering};
    static VISITS: AtomicU64 = AtomicU64::new(0);
    let visit = VISITS.fetch_add(1, Ordering::Relaxed) + 1;
    reply::text(200, format!("{visit}\n"))
}

fn method_name(method: &Method) -> String {
    match method {
        Method::Other(name) => name.clone(),
        known => wit_name(&format!("{known:?}")).to_ascii_uppercase(),
    }
}

fn scheme_name(scheme: &Scheme) -> String {
    match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
        Scheme::Other(name) => name.clone(),
    }
}
