//! OTLP over HTTP: `opentelemetry-otlp` builds the requests, our client sends them.
//!
//! The crate reports that a request failed, but not why, and not how many spans were refused. So the client stores a
//! batch's outcome here, beside the crate.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression as Wanted, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::Resource;
use prost::Message;

use super::{http_client::HttpTransport, refused, send_until};
use crate::{
    Compression, ConfigError, ExportError, OtlpConfig, StartError,
    config::Endpoint,
    error::chain,
    export::{
        Ended, Exporter, Pause, Undelivered, resources::send_by_resource, sdk::ResourceExporter,
    },
};

pub(crate) struct HttpExporter {
    requests: ResourceExporter<SpanExporter>,
    client: SharedClient,
    resource: Arc<Resource>,
}

impl HttpExporter {
    pub(crate) fn new(
        endpoint: Endpoint,
        config: &OtlpConfig,
        resource: Resource,
    ) -> Result<Self, StartError> {
        let address = endpoint.to_string();
        let client = SharedClient(Arc::new(Mutex::new(Exchange {
            transport: HttpTransport::new(endpoint, config)?,
            deadline: Instant::now(),
            pause: Pause::default(),
            outcome: None,
        })));
        let requests = requests(client.clone(), address, config)
            .map_err(|error| ConfigError::new("otlp.endpoint", chain(&error)))?;
        let resource = Arc::new(resource);
        Ok(Self {
            requests: ResourceExporter::new(requests, Arc::clone(&resource)),
            client,
            resource,
        })
    }
}

impl Exporter for HttpExporter {
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered {
        let Self {
            requests,
            client,
            resource,
        } = self;
        send_by_resource(batch, resource, |resource, spans| {
            client.exchange(deadline, pause, || requests.export(resource, spans))
        })
    }
}

/// Each setting is given, so that the crate does not read the environment. Exceptions are headers, which the client
/// sets itself, and compression, which cannot be set to none. The client does the retries. The collector decides how
/// large a request may be.
fn requests(
    client: SharedClient,
    address: String,
    config: &OtlpConfig,
) -> Result<SpanExporter, opentelemetry_otlp::ExporterBuildError> {
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .with_timeout(config.timeout)
        .with_retry_policy(RetryPolicy::disabled())
        .with_max_request_body_size(usize::MAX);
    match config.compression == Compression::Gzip || environment_compresses() {
        true => builder.with_compression(Wanted::Gzip).build(),
        false => builder.build(),
    }
}

/// The crate follows these variables. It gets gzip instead, and the client decompresses if the settings do not ask for
/// gzip.
fn environment_compresses() -> bool {
    [
        opentelemetry_otlp::OTEL_EXPORTER_OTLP_COMPRESSION,
        opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_COMPRESSION,
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some())
}

#[derive(Clone)]
struct SharedClient(Arc<Mutex<Exchange>>);

struct Exchange {
    transport: HttpTransport,
    deadline: Instant,
    pause: Pause,
    /// The outcome of the last batch.
    outcome: Option<Result<u64, ExportError>>,
}

impl SharedClient {
    /// Sends a request by `export`, and returns its outcome.
    fn exchange(
        &self,
        deadline: Instant,
        pause: &Pause,
        export: impl FnOnce() -> Result<(), ExportError>,
    ) -> Result<u64, ExportError> {
        let mut exchange = self.lock();
        (exchange.deadline, exchange.pause, exchange.outcome) = (deadline, pause.clone(), None);
        drop(exchange);
        let result = export();
        match (self.lock().outcome.take(), result) {
            (Some(outcome), _) => outcome,
            (None, Err(error)) => Err(ExportError::refused(error.reason)),
            (None, Ok(())) => Ok(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It blocks the queue's thread, which has nothing else to do.
#[async_trait]
impl HttpClient for SharedClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut exchange = self.lock();
        let Exchange {
            transport,
            deadline,
            pause,
            ..
        } = &mut *exchange;
        let compressed = request.headers().contains_key("content-encoding");
        let outcome = transport
            .body(request.into_body(), compressed)
            .and_then(|body| send_until(*deadline, pause, || transport.send(&body, *deadline)))
            // A malformed body does not turn a success into a failure.
            .map(|body| refused(ExportTraceServiceResponse::decode(&*body).unwrap_or_default()));
        let result = outcome.clone();
        exchange.outcome = Some(outcome);
        result
            .map(|_| Response::new(Bytes::new()))
            .map_err(Into::into)
    }
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedClient")
    }
}
