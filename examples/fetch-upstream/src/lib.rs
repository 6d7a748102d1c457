//! Calls the configured upstream and reports what it said: its status, how long the answer is, how it begins. An
//! upstream that is down, slow or forbidden is a 502 that says so, never a trap.

use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use wstd::http::{Body, Client, Error, Request, Response, StatusCode};
use wstd::time::Duration;

wit_bindgen::generate!({
    inline: r#"
        package acme:fetch-upstream;

        world imports {
            import wasi:config/store@0.2.0-rc.1;
        }

        package wasi:config@0.2.0-rc.1 {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
            }
        }
    "#,
    generate_all,
});

/// Where to call when no configuration says otherwise: the hello example on the same platform.
const UPSTREAM_DEFAULT: &str = "http://127.0.0.1:8080/hello/";
/// What is longer is not read to its end.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const EXCERPT_CHARS_MAX: usize = 200;
/// Below the package's wall time, so that a slow upstream is reported and not cut off.
const UPSTREAM_WAIT_MAX: u64 = 2;

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    let upstream = upstream();
    let (status, report) = match call(&upstream).await {
        Ok(report) => (StatusCode::OK, report),
        Err(error) => (
            StatusCode::BAD_GATEWAY,
            json!({"upstream": upstream, "error": error}),
        ),
    };
    let mut text = report.to_string();
    text.push('\n');
    Ok(Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(text.into())?)
}

fn upstream() -> String {
    match wasi::config::store::get("upstream") {
        Ok(Some(url)) => url,
        // No such key, or a host that has no configuration to give.
        Ok(None) | Err(_) => UPSTREAM_DEFAULT.to_owned(),
    }
}

async fn call(upstream: &str) -> Result<Value, String> {
    let request = Request::get(upstream)
        .body(Body::empty())
        .map_err(|error| format!("bad URL: {error}"))?;
    let mut client = Client::new();
    client.set_connect_timeout(Duration::from_secs(UPSTREAM_WAIT_MAX));
    client.set_first_byte_timeout(Duration::from_secs(UPSTREAM_WAIT_MAX));
    let response = client
        .send(request)
        .await
        .map_err(|error| format!("no answer: {error:#}"))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body().into_boxed_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    let bytes = body
        .map_err(|error| format!("its answer could not be read: {error}"))?
        .to_bytes();
    let excerpt: String = String::from_utf8_lossy(&bytes)
        .chars()
        .take(EXCERPT_CHARS_MAX)
        .collect();
    Ok(json!({"upstream": upstream, "status": status, "bytes": bytes.len(), "excerpt": excerpt}))
}
