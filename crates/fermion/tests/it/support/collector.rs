//! A receiver of OTLP: over HTTP and over gRPC. It can be away, and refuse; what it takes it keeps in order, so that a test
//! may ask for what must have come.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

use super::PATIENCE;

/// Something of an app, by the name of its service.
pub(crate) type Of<T> = (String, T);

/// What has come so far.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) metrics: Vec<Of<Metric>>,
    pub(crate) spans: Vec<Of<Span>>,
    pub(crate) logs: Vec<Of<LogRecord>>,
    /// Values of the header `x-key`.
    pub(crate) keys: Vec<String>,
    /// Every connection is closed at once.
    pub(crate) is_away: bool,
    /// Batches that are still to be answered with this status first.
    pub(crate) refusals: Vec<u16>,
}

/// A running collector. Its thread ends with the test process.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
}

/// The text of an attribute; empty if it is not there or no text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}

impl Collector {
    /// OTLP over HTTP.
    pub(crate) fn http() -> Self {
        Self::start(|listener, collector| async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if collector.shared.received.lock().unwrap().is_away {
                    continue;
                }
                let collector = collector.clone();
                connections.spawn(async move {
                    let answer = service_fn(|request| collector.answer(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    drop(http.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        })
    }

    /// OTLP over gRPC.
    pub(crate) fn grpc() -> Self {
        Self::start(|listener, collector| async move {
            let server = tonic::transport::Server::builder()
                .add_service(MetricsServiceServer::new(collector.clone()))
                .add_service(TraceServiceServer::new(collector.clone()))
                .add_service(LogsServiceServer::new(collector));
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            server.serve_with_incoming(incoming).await.expect("it serves");
        })
    }

    fn start<F: Future<Output = ()>>(
        serve: impl FnOnce(tokio::net::TcpListener, Self) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("it can be waited for");
        let collector = Self {
            address: listener.local_addr().expect("it has an address"),
            shared: Arc::default(),
        };
        let served = collector.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
                serve(listener, served).await;
            });
        });
        collector
    }

    /// Answers the next batches with these statuses instead of taking them.
    pub(crate) fn refuse(&self, statuses: &[u16]) {
        self.shared.received.lock().unwrap().refusals.extend(statuses);
    }

    /// From now on it closes every connection that is made, or is there again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.shared.received.lock().unwrap().is_away = is_away;
    }

    /// Waits until what has come is so, and gives something of it.
    #[track_caller]
    pub(crate) fn when<T>(&self, what: &str, mut look: impl FnMut(&Received) -> Option<T>) -> T {
        let received = self.shared.received.lock().unwrap();
        let mut found = None;
        let wait = self
            .shared
            .changed
            .wait_timeout_while(received, PATIENCE, |received| {
                found = look(received);
                found.is_none()
            });
        let (received, _) = wait.unwrap();
        found.unwrap_or_else(|| panic!("{what} does not come: {:#?}", *received))
    }

    fn take(&self, put: impl FnOnce(&mut Received)) {
        put(&mut self.shared.received.lock().unwrap());
        self.shared.changed.notify_all();
    }

    fn refusal(&self) -> Option<u16> {
        let mut received = self.shared.received.lock().unwrap();
        (!received.refusals.is_empty()).then(|| received.refusals.remove(0))
    }

    async fn answer(
        &self,
        request: hyper::Request<hyper::body::Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.headers["content-type"], "application/x-protobuf");
        let body = body.collect().await.expect("a whole body").to_bytes();
        let mut answer = hyper::Response::new(Full::default());
        if let Some(status) = self.refusal() {
            *answer.status_mut() = status.try_into().expect("a status");
            return Ok(answer);
        }
        let key = parts
            .headers
            .get("x-key")
            .map(|key| key.to_str().unwrap().to_owned());
        self.take(|received| {
            received.keys.extend(key);
            match parts.uri.path() {
                "/v1/metrics" => received.metrics(ExportMetricsServiceRequest::decode(body).unwrap()),
                "/v1/traces" => received.traces(ExportTraceServiceRequest::decode(body).unwrap()),
                "/v1/logs" => received.logs(ExportLogsServiceRequest::decode(body).unwrap()),
                other => panic!("{other} is no path of OTLP"),
            }
        });
        Ok(answer)
    }

    fn called<T>(&self, request: Request<T>, put: impl FnOnce(&mut Received, T)) -> Result<(), Status> {
        if let Some(code) = self.refusal() {
            let code = i32::from(code).into();
            return Err(Status::new(code, "not now"));
        }
        let key = request
            .metadata()
            .get("x-key")
            .map(|key| key.to_str().unwrap().to_owned());
        self.take(|received| {
            received.keys.extend(key);
            put(received, request.into_inner());
        });
        Ok(())
    }
}

/// The app that a resource stands for.
fn service(resource: Option<&opentelemetry_proto::tonic::resource::v1::Resource>) -> String {
    resource.map_or_else(String::new, |resource| {
        attribute(&resource.attributes, "service.name")
    })
}

impl Received {
    fn metrics(&mut self, request: ExportMetricsServiceRequest) {
        for resource in request.resource_metrics {
            let service = service(resource.resource.as_ref());
            let all = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            self.metrics.extend(all.map(|metric| (service.clone(), metric)));
        }
    }

    fn traces(&mut self, request: ExportTraceServiceRequest) {
        for resource in request.resource_spans {
            let service = service(resource.resource.as_ref());
            let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(all.map(|span| (service.clone(), span)));
        }
    }

    fn logs(&mut self, request: ExportLogsServiceRequest) {
        for resource in request.resource_logs {
            let service = service(resource.resource.as_ref());
            let all = resource
                .scope_logs
                .into_iter()
                .flat_map(|scope| scope.log_records);
            self.logs.extend(all.map(|record| (service.clone(), record)));
        }
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.called(request, Received::metrics)?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.called(request, Received::traces)?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.called(request, Received::logs)?;
        Ok(Response::new(Default::default()))
    }
}
