//! Answers a request. What `main` returns is the response; an error becomes a 502 whose text stays inside.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path();
    let text = format!("Hello from {{name}} at {path}\n");
    Ok(Response::builder()
        .header("content-type", "text/plain; charset=utf-8")
        .body(text.into())?)
}
