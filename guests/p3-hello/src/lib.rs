//! The smallest useful WASI 0.3 handler: one header, one body. The benchmark measures the platform with it.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::new();
        headers
            .append("content-type", b"text/plain")
            .expect("the header is an acceptable one");
        let (mut body, reader) = wit_stream::new();
        // Dropped unwritten, it resolves to what its maker says: no trailers.
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(reader), trailers);
        spawn_local(async move {
            body.write_all(b"Hello, world!\n".to_vec()).await;
        });
        Ok(response)
    }
}

wasip3::http::service::export!(Hello);
