//! Calling upstreams: plain, with a body, with options, with mistakes, several at once, and as a proxy.

use std::fmt::Write as _;

use edge_cases::{Target, Url, attempts, filler, wit_name};
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::bodies::{Body, trailer_lines};
use crate::reply::{self, Reply};
use crate::{Answer, Behaviour, Call};

/// The writing end of an outgoing request's body.
struct Upload {
    stream: StreamWriter<u8>,
    trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
}

/// An outgoing request and the host's later word on its being sent.
struct Outgoing {
    request: Request,
    sent: FutureReader<Result<(), ErrorCode>>,
}

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "fetch" => |call| Box::pin(async move { report(fetch(&call.target).await) }),
        "fetch-post" => |call| Box::pin(async move { report(fetch_post(call).await) }),
        "fetch-length" => |call| Box::pin(async move { report(fetch_length(&call.target).await) }),
        "fetch-trailers" => |call| Box::pin(async move { report(fetch_trailers(&call.target).await) }),
        "fetch-options" => |call| Box::pin(async move { report(fetch_options(&call.target).await) }),
        "fetch-bad" => |call| Box::pin(async move { report(fetch_bad(&call.target).await) }),
        "proxy" => |call| Box::pin(proxy(call)),
        "fanout" => |call| Box::pin(fan_out(call)),
        _ => return None,
    })
}

/// GET, or the `method` of the query, with each `header=name:value` of the query.
async fn fetch(target: &Target) -> Result<(u16, Vec<u8>), String> {
    let fields = Fields::new();
    for header in target.query_all("header") {
        let (name, value) = header.split_once(':').unwrap_or((header, ""));
        fields
            .append(name, value.as_bytes())
            .map_err(|error| format!("header {}", wit_name(&format!("{error:?}"))))?;
    }
    let outgoing = bodyless(target, fields, None)?;
    let method = method_of(target.query("method").unwrap_or("GET"));
    outgoing.request.set_method(&method).map_err(|()| "set-method")?;
    whole(send(outgoing.request).await?).await
}

/// Passes the request's body on while it comes in.
async fn fetch_post(call: Call) -> Result<(u16, Vec<u8>), String> {
    let (outgoing, mut upload) = with_body(&call.target, Fields::new())?;
    let mut body = Body::of_request(call.request);
    spawn_local(async move {
        while let Some(piece) = body.next().await {
            if !upload.stream.write_all(piece).await.is_empty() {
                return;
            }
        }
        let end = body.end().await.map(|_| None);
        upload.finish(end).await;
    });
    whole(send(outgoing.request).await?).await
}

/// `/fetch-length/DECLARED/ACTUAL`: a body that keeps or breaks its own content-length.
async fn fetch_length(target: &Target) -> Result<(u16, Vec<u8>), String> {
    let fields = Fields::new();
    fields
        .append("content-length", target.text(0).as_bytes())
        .expect("the header is an acceptable one");
    let actual = target.number(1).unwrap_or(0);
    post(target, fields, filler(0, actual), None).await
}

async fn fetch_trailers(target: &Target) -> Result<(u16, Vec<u8>), String> {
    let trailers = Fields::new();
    trailers
        .append("x-sum", b"42")
        .expect("the trailer is an acceptable one");
    let fields = Fields::new();
    fields
        .append("trailer", b"x-sum")
        .expect("the header is an acceptable one");
    post(target, fields, b"body\n".to_vec(), Some(trailers)).await
}

async fn fetch_options(target: &Target) -> Result<(u16, Vec<u8>), String> {
    let options = RequestOptions::new();
    options
        .set_connect_timeout(target.query_ms("connect_ms"))
        .and_then(|()| options.set_first_byte_timeout(target.query_ms("first_byte_ms")))
        .and_then(|()| options.set_between_bytes_timeout(target.query_ms("between_ms")))
        .map_err(|_| "options-refused")?;
    let outgoing = bodyless(target, Fields::new(), Some(options))?;
    whole(send(outgoing.request).await?).await
}

/// Says which step refused the bad request of `kind`, and how.
async fn fetch_bad(target: &Target) -> Result<(u16, Vec<u8>), String> {
    let bad = target
        .query("kind")
        .and_then(attempts::bad_request)
        .ok_or("no-such-kind")?;
    let fields = Fields::new();
    if let Some((name, value)) = bad.header {
        fields
            .append(name, value.as_bytes())
            .map_err(|error| format!("header {}", wit_name(&format!("{error:?}"))))?;
    }
    let Outgoing { request, .. } = bodyless(target, fields, None)?;
    if let Some(method) = bad.method {
        request
            .set_method(&Method::Other(method.to_owned()))
            .map_err(|()| "set-method")?;
    }
    if let Some(scheme) = bad.scheme {
        request
            .set_scheme(Some(&Scheme::Other(scheme.to_owned())))
            .map_err(|()| "set-scheme")?;
    }
    if let Some(authority) = bad.authority {
        request
            .set_authority(Some(authority))
            .map_err(|()| "set-authority")?;
    }
    if let Some(path) = bad.path {
        request.set_path_with_query(Some(path)).map_err(|()| "set-path")?;
    }
    whole(send(request).await?).await
}

/// The upstream's status, headers, body and trailers, each as it comes.
async fn proxy(call: Call) -> Answer {
    let response = match bodyless(&call.target, Fields::new(), None) {
        Ok(outgoing) => send(outgoing.request).await,
        Err(error) => Err(error),
    };
    let response = match response {
        Ok(response) => response,
        Err(error) => return report(Err(error)),
    };
    let fields = Fields::new();
    for (name, value) in response.get_headers().copy_all() {
        // What belongs to the upstream's connection is refused here, as it should be.
        let _ = fields.append(&name, &value);
    }
    let (answer, reply) = Reply::start_with(response.get_status_code(), fields);
    spawn_local(Body::of_response(response).pour(reply, |piece| piece));
    Ok(answer)
}

/// N requests on their way before the first answer is awaited.
async fn fan_out(call: Call) -> Answer {
    let mut under_way = Vec::new();
    for _ in 0..call.target.number(0).unwrap_or(1) {
        let outgoing = bodyless(&call.target, Fields::new(), None);
        under_way.push(spawn_local(
            async move { whole(send(outgoing?.request).await?).await },
        ));
    }
    let mut text = String::new();
    for task in under_way {
        let _ = match task.await.unwrap_or_else(|| Err("cancelled".to_owned())) {
            Ok((status, body)) => writeln!(text, "{status} {}", body.len()),
            Err(error) => writeln!(text, "error {error}"),
        };
    }
    reply::text(200, text)
}

impl Upload {
    async fn finish(self, end: Result<Option<Trailers>, ErrorCode>) {
        drop(self.stream);
        // A host that no longer listens says why in its answer to the request.
        drop(self.trailers.write(end).await);
    }
}

/// A GET for the `url` of the query.
fn bodyless(target: &Target, fields: Fields, options: Option<RequestOptions>) -> Result<Outgoing, String> {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(fields, None, trailers, options);
    aim(&request, target)?;
    Ok(Outgoing { request, sent })
}

/// A POST for the `url` of the query, and the end to write its body to.
fn with_body(target: &Target, fields: Fields) -> Result<(Outgoing, Upload), String> {
    let (stream, body) = wit_stream::new();
    let (trailers, trailers_out) = wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(fields, Some(body), trailers_out, None);
    aim(&request, target)?;
    request.set_method(&Method::Post).map_err(|()| "set-method")?;
    Ok((Outgoing { request, sent }, Upload { stream, trailers }))
}

fn aim(request: &Request, target: &Target) -> Result<(), String> {
    let url = target.query("url").and_then(Url::parse).ok_or("no-url")?;
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
    Ok(())
}

async fn post(
    target: &Target,
    fields: Fields,
    bytes: Vec<u8>,
    trailers: Option<Trailers>,
) -> Result<(u16, Vec<u8>), String> {
    let (outgoing, mut upload) = with_body(target, fields)?;
    spawn_local(async move {
        upload.stream.write_all(bytes).await;
        upload.finish(Ok(trailers)).await;
    });
    let answer = whole(send(outgoing.request).await?).await?;
    outgoing.sent.await.map_err(|error| name_of(&error))?;
    Ok(answer)
}

async fn send(request: Request) -> Result<Response, String> {
    client::send(request).await.map_err(|error| name_of(&error))
}

async fn whole(response: Response) -> Result<(u16, Vec<u8>), String> {
    let status = response.get_status_code();
    let mut body = Body::of_response(response);
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece);
    }
    let trailers = body.end().await.map_err(|error| name_of(&error))?;
    if trailers.is_some() {
        bytes.extend_from_slice(trailer_lines(Ok(trailers)).as_bytes());
    }
    Ok((status, bytes))
}

/// `STATUS BODY`, or the error's name as a 502.
fn report(outcome: Result<(u16, Vec<u8>), String>) -> Answer {
    match outcome {
        Ok((status, body)) => {
            let mut text = format!("{status} ").into_bytes();
            text.extend_from_slice(&body);
            reply::text(200, text)
        }
        Err(error) => reply::text(502, format!("{error}\n")),
    }
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
