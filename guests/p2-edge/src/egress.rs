//! Calling upstreams: plain, with a body, with options, with mistakes, several at once, and as a proxy.

use std::fmt::Write as _;

use edge_cases::{Url, attempts, filler, wit_name};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};

use crate::bodies::{Cut, consume, finish_like, read, trailer_lines, trailers_of};
use crate::reply::{self, Reply};
use crate::{Behaviour, Call};

/// The most that one blocking write of WASI 0.2 takes.
const WRITE_BYTES_MAX: usize = 4096;

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "fetch" => fetch,
        "fetch-post" => fetch_post,
        "fetch-length" => fetch_length,
        "fetch-trailers" => fetch_trailers,
        "fetch-options" => fetch_options,
        "fetch-bad" => fetch_bad,
        "proxy" => proxy,
        "fanout" => fan_out,
        _ => return None,
    })
}

/// GET, or the `method` of the query, with each `header=name:value` of the query.
fn fetch(call: Call) {
    let outcome = header_fields(&call)
        .and_then(|fields| request(&call, fields))
        .and_then(|request| {
            let method = call.target.query("method").unwrap_or("GET");
            request
                .set_method(&method_of(method))
                .map_err(|()| "set-method".to_owned())?;
            send(request, None)
        });
    report(call, outcome.and_then(wait));
}

/// Passes the request's body on while it comes in.
fn fetch_post(call: Call) {
    let outcome = request(&call, Fields::new()).and_then(|request| {
        request
            .set_method(&Method::Post)
            .map_err(|()| "set-method".to_owned())?;
        let body = request.body().map_err(|()| "body".to_owned())?;
        let future = send(request, None)?;
        let upload = consume(&call.request);
        let stream = body.write().map_err(|()| "stream".to_owned())?;
        let whole = read(&upload, |chunk| {
            chunk
                .chunks(WRITE_BYTES_MAX)
                .all(|piece| stream.blocking_write_and_flush(piece).is_ok())
        })
        .is_ok();
        drop(stream);
        if whole {
            OutgoingBody::finish(body, None).map_err(|error| name_of(&error))?;
        }
        wait(future)
    });
    report(call, outcome);
}

/// `/fetch-length/DECLARED/ACTUAL`: a body that keeps or breaks its own content-length.
fn fetch_length(call: Call) {
    let fields = Fields::new();
    fields
        .append("content-length", call.target.text(0).as_bytes())
        .expect("the header is an acceptable one");
    let actual = call.target.number(1).unwrap_or(0);
    let outcome = request(&call, fields).and_then(|request| post(request, &filler(0, actual), None));
    report(call, outcome);
}

fn fetch_trailers(call: Call) {
    let trailers = Fields::new();
    trailers
        .append("x-sum", b"42")
        .expect("the trailer is an acceptable one");
    let fields = Fields::new();
    fields
        .append("trailer", b"x-sum")
        .expect("the header is an acceptable one");
    let outcome = request(&call, fields).and_then(|request| post(request, b"body\n", Some(trailers)));
    report(call, outcome);
}

fn fetch_options(call: Call) {
    let options = RequestOptions::new();
    let target = &call.target;
    let set = options
        .set_connect_timeout(target.query_ms("connect_ms"))
        .and_then(|()| options.set_first_byte_timeout(target.query_ms("first_byte_ms")))
        .and_then(|()| options.set_between_bytes_timeout(target.query_ms("between_ms")));
    let outcome = set
        .map_err(|()| "options-refused".to_owned())
        .and_then(|()| request(&call, Fields::new()))
        .and_then(|request| send(request, Some(options)));
    report(call, outcome.and_then(wait));
}

/// Says which step refused the bad request of `kind`, and how.
fn fetch_bad(call: Call) {
    let Some(bad) = call.target.query("kind").and_then(attempts::bad_request) else {
        return refuse(call, "no-such-kind");
    };
    let fields = Fields::new();
    if let Some((name, value)) = bad.header
        && let Err(error) = fields.append(name, value.as_bytes())
    {
        return refuse(call, &format!("header {}", wit_name(&format!("{error:?}"))));
    }
    let outcome = request(&call, fields).and_then(|request| {
        let step = |name: &'static str| move |()| format!("set-{name}");
        if let Some(method) = bad.method {
            request
                .set_method(&Method::Other(method.to_owned()))
                .map_err(step("method"))?;
        }
        if let Some(scheme) = bad.scheme {
            request
                .set_scheme(Some(&Scheme::Other(scheme.to_owned())))
                .map_err(step("scheme"))?;
        }
        if let Some(authority) = bad.authority {
            request
                .set_authority(Some(authority))
                .map_err(step("authority"))?;
        }
        if let Some(path) = bad.path {
            request.set_path_with_query(Some(path)).map_err(step("path"))?;
        }
        send(request, None)
    });
    report(call, outcome.and_then(wait));
}

/// The upstream's status, headers, body and trailers, each as it comes.
fn proxy(call: Call) {
    let response = request(&call, Fields::new())
        .and_then(|request| send(request, None))
        .and_then(wait);
    let response = match response {
        Ok(response) => response,
        Err(error) => return refuse(call, &error),
    };
    let fields = Fields::new();
    for (name, value) in response.headers().entries() {
        // What belongs to the upstream's connection is refused here, as it should be.
        let _ = fields.append(&name, &value);
    }
    let body = response.consume().expect("the body is taken once");
    let reply = Reply::start_with(call.out, response.status(), fields);
    let whole = read(&body, |chunk| reply.write(chunk)).is_ok();
    finish_like(reply, body, whole);
}

/// N requests on their way before the first answer is awaited.
fn fan_out(call: Call) {
    let count = call.target.number(0).unwrap_or(1);
    let mut under_way = Vec::new();
    for _ in 0..count {
        under_way.push(request(&call, Fields::new()).and_then(|request| send(request, None)));
    }
    let mut text = String::new();
    for future in under_way {
        let _ = match future.and_then(wait).and_then(|response| whole(&response)) {
            Ok((status, body)) => writeln!(text, "{status} {}", body.len()),
            Err(error) => writeln!(text, "error {error}"),
        };
    }
    reply::text(call.out, 200, text);
}

/// The headers of the query.
fn header_fields(call: &Call) -> Result<Fields, String> {
    let fields = Fields::new();
    for header in call.target.query_all("header") {
        let (name, value) = header.split_once(':').unwrap_or((header, ""));
        fields
            .append(name, value.as_bytes())
            .map_err(|error| format!("header {}", wit_name(&format!("{error:?}"))))?;
    }
    Ok(fields)
}

/// A GET for the `url` of the query.
fn request(call: &Call, fields: Fields) -> Result<OutgoingRequest, String> {
    let url = call.target.query("url").and_then(Url::parse).ok_or("no-url")?;
    let request = OutgoingRequest::new(fields);
    let scheme = match url.scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_scheme(Some(&scheme)).map_err(|()| "set-scheme")?;
    request
        .set_authority(Some(&url.authority))
        .map_err(|()| "set-authority")?;
    request
        .set_path_with_query(Some(&url.path))
        .map_err(|()| "set-path")?;
    Ok(request)
}

fn send(request: OutgoingRequest, options: Option<RequestOptions>) -> Result<FutureIncomingResponse, String> {
    outgoing_handler::handle(request, options).map_err(|error| name_of(&error))
}

fn post(
    request: OutgoingRequest,
    bytes: &[u8],
    trailers: Option<Fields>,
) -> Result<IncomingResponse, String> {
    request.set_method(&Method::Post).map_err(|()| "set-method")?;
    let body = request.body().map_err(|()| "body")?;
    let future = send(request, None)?;
    let stream = body.write().map_err(|()| "stream")?;
    for piece in bytes.chunks(WRITE_BYTES_MAX) {
        if stream.blocking_write_and_flush(piece).is_err() {
            break;
        }
    }
    drop(stream);
    OutgoingBody::finish(body, trailers).map_err(|error| name_of(&error))?;
    wait(future)
}

fn wait(future: FutureIncomingResponse) -> Result<IncomingResponse, String> {
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Ok(Err(error))) => Err(name_of(&error)),
        _ => Err("taken".to_owned()),
    }
}

fn whole(response: &IncomingResponse) -> Result<(u16, Vec<u8>), String> {
    let body = response.consume().map_err(|()| "consume")?;
    let mut bytes = Vec::new();
    let end = read(&body, |chunk| {
        bytes.extend_from_slice(chunk);
        true
    });
    if let Err(Cut::Broken(name)) = end {
        return Err(name);
    }
    let trailers = trailers_of(body)?;
    if trailers.is_some() {
        bytes.extend_from_slice(trailer_lines(Ok(trailers)).as_bytes());
    }
    Ok((response.status(), bytes))
}

/// `STATUS BODY`, or the error's name as a 502.
fn report(call: Call, outcome: Result<IncomingResponse, String>) {
    match outcome.and_then(|response| whole(&response)) {
        Ok((status, body)) => {
            let mut text = format!("{status} ").into_bytes();
            text.extend_from_slice(&body);
            reply::text(call.out, 200, text);
        }
        Err(error) => refuse(call, &error),
    }
}

fn refuse(call: Call, error: &str) {
    reply::text(call.out, 502, format!("{error}\n"));
}

fn name_of(error: &ErrorCode) -> String {
    wit_name(&format!("{error:?}"))
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}
