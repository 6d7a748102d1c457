//! An order comes in, an invoice goes out, both as JSON. `order` holds the rules; this file only speaks HTTP.

mod order;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

/// An order of a thousand lines fits ten times over; what is longer is no order.
const ORDER_BYTES_MAX: usize = 1 << 20;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let (status, body) = match transform(request).await {
        Ok(invoice) => (StatusCode::OK, serde_json::to_vec(&invoice)?),
        Err(refusal) => (refusal.status, refusal.body()),
    };
    let kind = if status.is_success() {
        "application/json"
    } else {
        "application/problem+json"
    };
    let mut response = Response::builder().status(status).header("content-type", kind);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header("allow", "POST");
    }
    Ok(response.body(body.into())?)
}

/// Why there is no invoice.
struct Refusal {
    status: StatusCode,
    detail: String,
}

impl Refusal {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// RFC 9457 problem details.
    fn body(&self) -> Vec<u8> {
        let title = self.status.canonical_reason().unwrap_or("Refused");
        let problem =
            serde_json::json!({"title": title, "status": self.status.as_u16(), "detail": self.detail});
        problem.to_string().into_bytes()
    }
}

async fn transform(request: Request<Body>) -> Result<order::Invoice, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "POST an order"));
    }
    let kind = request
        .headers()
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("");
    if !kind.starts_with("application/json") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "an order is application/json",
        ));
    }
    let bytes = read(request.into_body()).await?;
    let order: order::Order = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    order
        .invoice()
        .map_err(|problem| Refusal::new(StatusCode::BAD_REQUEST, problem))
}

/// The whole body, as long as it keeps to the bound.
async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    match Limited::new(body.into_boxed_body(), ORDER_BYTES_MAX)
        .collect()
        .await
    {
        Ok(whole) => Ok(whole.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("an order has at most {ORDER_BYTES_MAX} bytes"),
        )),
        Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}
