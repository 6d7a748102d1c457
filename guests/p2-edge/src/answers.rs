//! Plain answers: what a request looks like to the guest, statuses, headers good and bad.

use std::fmt::Write as _;

use edge_cases::attempts::HEADERS;
use edge_cases::wit_name;
use wasip2::http::types::{Fields, Method, OutgoingResponse, ResponseOutparam, Scheme};

use crate::reply::{self, Reply};
use crate::{Behaviour, Call};

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "" | "hello" => hello,
        "info" => info,
        "status" => status,
        "no-body" => no_body,
        "two-cookies" => two_cookies,
        "many-headers" => many_headers,
        "big-header" => big_header,
        "bad-headers" => bad_headers,
        "state" => state,
        _ => return None,
    })
}

pub(crate) fn not_found(call: Call) {
    reply::text(call.out, 404, "no such path\n");
}

fn hello(call: Call) {
    reply::text(call.out, 200, edge_cases::HELLO);
}

fn info(call: Call) {
    let request = &call.request;
    let mut text = String::new();
    let _ = writeln!(text, "method {}", method_name(&request.method()));
    let _ = writeln!(text, "path {}", request.path_with_query().unwrap_or_default());
    let _ = writeln!(
        text,
        "scheme {}",
        request
            .scheme()
            .map_or(String::new(), |scheme| scheme_name(&scheme))
    );
    let _ = writeln!(text, "authority {}", request.authority().unwrap_or_default());
    for (name, value) in request.headers().entries() {
        let _ = writeln!(text, "header {name}: {}", String::from_utf8_lossy(&value));
    }
    reply::text(call.out, 200, text);
}

fn status(call: Call) {
    let code = call
        .target
        .number(0)
        .and_then(|code| u16::try_from(code).ok())
        .unwrap_or(0);
    let response = OutgoingResponse::new(Fields::new());
    if response.set_status_code(code).is_err() {
        return reply::text(call.out, 500, "status refused\n");
    }
    if matches!(code, 204 | 304) {
        ResponseOutparam::set(call.out, Ok(response));
    } else {
        reply::text(call.out, code, format!("status {code}\n"));
    }
}

fn no_body(call: Call) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(204).expect("204 is a status");
    ResponseOutparam::set(call.out, Ok(response));
}

fn two_cookies(call: Call) {
    let reply = Reply::start(call.out, 200, &[("set-cookie", "a=1"), ("set-cookie", "b=2")]);
    reply.write(b"two cookies\n");
    drop(reply.finish(None));
}

fn many_headers(call: Call) {
    let fields = Fields::new();
    for index in 0..call.target.number(0).unwrap_or(1) {
        fields
            .append(&format!("x-h-{index}"), index.to_string().as_bytes())
            .expect("the header is an acceptable one");
    }
    send_fields(call.out, fields);
}

fn big_header(call: Call) {
    let fields = Fields::new();
    let value = "b".repeat(call.target.number(0).unwrap_or(1));
    fields
        .append("x-big", value.as_bytes())
        .expect("the header is an acceptable one");
    send_fields(call.out, fields);
}

fn send_fields(out: ResponseOutparam, fields: Fields) {
    let reply = Reply::start_with(out, 200, fields);
    reply.write(b"headers\n");
    drop(reply.finish(None));
}

fn bad_headers(call: Call) {
    let mut text = String::new();
    for (label, name, value) in HEADERS {
        let outcome = match Fields::new().append(name, value) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => format!("refused {}", wit_name(&format!("{error:?}"))),
        };
        let _ = writeln!(text, "{label}: {outcome}");
    }
    let outcome = match call.request.headers().append("x-value", b"x") {
        Ok(()) => "accepted".to_owned(),
        Err(error) => format!("refused {}", wit_name(&format!("{error:?}"))),
    };
    let _ = writeln!(text, "request headers: {outcome}");
    reply::text(call.out, 200, text);
}

/// How often this instance has been here: 1 for a fresh one.
fn state(call: Call) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static VISITS: AtomicU64 = AtomicU64::new(0);
    let visit = VISITS.fetch_add(1, Ordering::Relaxed) + 1;
    reply::text(call.out, 200, format!("{visit}\n"));
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
