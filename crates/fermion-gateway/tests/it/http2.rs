//! HTTP/2 with prior knowledge, on the same port.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use fermion_model::{Fault, RequestRecord};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::app::App;
use crate::harness::{Harness, quick};

pub(crate) fn run<T>(harness: &Harness, test: impl AsyncFnOnce(SendRequest<Full<Bytes>>) -> T) -> T {
    run_with(harness, &http2::Builder::new(TokioExecutor::new()), test)
}

fn run_with<T>(
    harness: &Harness,
    builder: &http2::Builder<TokioExecutor>,
    test: impl AsyncFnOnce(SendRequest<Full<Bytes>>) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(harness.address).await.unwrap();
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(connection);
        test(sender).await
    })
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .uri(format!("http://shop.example:81{path}"))
        .body(Full::default())
        .unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Waits for a record without holding up the client's own reactor.
pub(crate) async fn record_beside(harness: &Harness) -> RequestRecord {
    loop {
        if let Some(record) = harness.try_record() {
            return record;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn requests_share_a_connection_and_look_like_any_other() {
    let harness = Harness::start();
    run(&harness, async |mut sender| {
        let answers = futures::future::join_all((0..20).map(|i| {
            let answer = sender.send_request(get(&format!("/{i}?q")));
            async move { text(answer.await.unwrap()).await }
        }));
        for (i, answer) in answers.await.into_iter().enumerate() {
            assert!(answer.starts_with(&format!("app GET /{i}?q\n")), "{answer}");
            assert!(
                answer.contains("host: shop.example:81\n") && answer.contains("traceparent: "),
                "{answer}"
            );
        }
        let mut request = get("/read");
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = Full::from("abcd");
        assert_eq!(
            text(sender.send_request(request).await.unwrap()).await,
            "4 bytes, 0 trailers"
        );
        let trailers = sender
            .send_request(get("/trailers"))
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
        assert_eq!(trailers.trailers().unwrap()["x-sum"], "42");
        let mut request = get("/head");
        *request.method_mut() = http::Method::HEAD;
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.headers()["content-length"], "1234");
        assert_eq!(text(response).await, "");
    });
}

#[test]
fn failures_are_problems_or_resets() {
    let harness = Harness::start();
    run(&harness, async |mut sender| {
        for (path, status, code) in [
            ("/fail", 504, "GUEST_CPU_LIMIT"),
            ("/cut-at-once", 502, "GUEST_TRAP"),
            (&*format!("/{}", "u".repeat(9000)), 414, "URI_TOO_LONG"),
        ] {
            let response = sender.send_request(get(path)).await.unwrap();
            assert_eq!(response.status(), status);
            assert!(
                response.headers()["proxy-status"]
                    .to_str()
                    .unwrap()
                    .contains(code)
            );
            assert!(text(response).await.contains(code));
            assert_eq!(harness.record().fault.unwrap().code(), code);
        }
        let mut wide = get("/x");
        for i in 0..120 {
            wide.headers_mut().insert(
                http::HeaderName::try_from(format!("a{i}")).unwrap(),
                "b".parse().unwrap(),
            );
        }
        assert_eq!(sender.send_request(wide).await.unwrap().status(), 431);
        harness.record();
        let mut large = get("/read");
        *large.method_mut() = http::Method::POST;
        *large.body_mut() = Full::from(vec![0; 2000]);
        assert_eq!(sender.send_request(large).await.unwrap().status(), 413);
        harness.record();
        for path in ["/cut", "/short"] {
            let response = sender.send_request(get(path)).await.unwrap();
            assert!(response.into_body().collect().await.is_err(), "{path}");
            assert!(matches!(
                harness.record().fault,
                Some(Fault::GuestTrap | Fault::GuestResponseInvalid)
            ));
        }
        assert_eq!(
            text(sender.send_request(get("/hello")).await.unwrap()).await,
            "hello\n"
        );
    });
}

#[test]
fn a_stream_that_is_given_up_is_recorded() {
    let harness = Harness::start();
    run(&harness, async |mut sender| {
        let response = sender.send_request(get("/half")).await.unwrap();
        drop(response);
        let record = record_beside(&harness).await;
        assert!(record.client_gone);
    });
}

#[test]
fn streams_in_flight_are_finished_at_shutdown() {
    let mut harness = Harness::start();
    run(&harness, async |mut sender| {
        let answer = sender.send_request(get("/never"));
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            _ = &mut answer => panic!("answered too early"),
            arrived = harness.app.arrived.acquire() => arrived.unwrap().forget(),
        }
        harness.begin_shutdown();
        harness.app.gate.add_permits(1);
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    assert_eq!(harness.stop().aborted_connections, 0);
}

#[test]
fn a_preface_and_nothing_more_is_closed_in_time() {
    let harness = Harness::with(App::named("app"), quick());
    let mut stream = std::net::TcpStream::connect(harness.address).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut settings = Vec::new();
    stream.read_to_end(&mut settings).unwrap();
    assert!(!settings.is_empty());
}

#[test]
fn a_caller_that_opens_no_window_is_cut_off() {
    let mut app = App::named("app");
    app.limits.wall_time = std::time::Duration::from_millis(100);
    let harness = Harness::with(app, quick());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    run_with(&harness, &builder, async |mut sender| {
        let response = sender.send_request(get("/large")).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        assert!(record_beside(&harness).await.client_gone);
    });
}
