//! An upstream behind TLS that speaks HTTP/2 or HTTP/1.1, as the caller and the test agree.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Its thread ends with the test process.
pub(crate) struct Secure {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Secure {
    /// Offers these protocols. Answers every request with its version and its path.
    pub(crate) fn start(protocols: &'static [&'static str]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("a socket can be");
        let address = listener.local_addr().expect("it has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = accepted.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(serve(listener, protocols, counted));
        });
        Self { address, accepted }
    }

    /// The certificate that vouches for it.
    pub(crate) fn authority() -> String {
        format!("{}/tests/it/support/tls/ca.pem", env!("CARGO_MANIFEST_DIR"))
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

async fn serve(listener: std::net::TcpListener, protocols: &[&str], accepted: Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
    let chain = CertificateDer::pem_slice_iter(include_bytes!("tls/server.pem"));
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("key and certificate fit");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("it accepts");
        accepted.fetch_add(1, SeqCst);
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // A caller that does not trust it leaves here.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let io = TokioIo::new(stream);
            if is_h2 {
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(http.serve_connection(io, service_fn(answer)).await);
            } else {
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(io, service_fn(answer)).await);
            }
        });
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let text = format!("{:?} {}\n", request.version(), request.uri().path());
    Ok(Response::new(Full::new(text.into())))
}
