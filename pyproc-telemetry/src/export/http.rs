//! OTLP over HTTP: `opentelemetry-otlp` makes the requests, our client carries them.
//!
//! The crate says of a failure only that there was one, and nothing of spans that were refused. So what
//! became of a batch does not go through it, but is left here by the client.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression as Wanted, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};

use super::{Exporter, Pause, http_client::HttpTransport, otlp::send_until};
use crate::{
    Compression, ConfigError, ExportError, OtlpConfig, StartError, config::Endpoint, error::chain,
};

pub(crate) struct HttpExporter {
    requests: SpanExporter,
    carrier: Carrier,
}

impl HttpExporter {
    pub(crate) fn new(
        endpoint: Endpoint,
        config: &OtlpConfig,
        resource: &Resource,
    ) -> Result<Self, StartError> {
        let address = endpoint.to_string();
        let carrier = Carrier(Arc::new(Mutex::new(Trip {
            transport: HttpTransport::new(endpoint, config)?,
            deadline: Instant::now(),
            pause: Pause::default(),
            outcome: None,
        })));
        let mut requests = requests(carrier.clone(), address, config)
            .map_err(|error| ConfigError::new("otlp.endpoint", chain(&error)))?;
        requests.set_resource(resource);
        Ok(Self { requests, carrier })
    }
}

impl Exporter for HttpExporter {
    fn export(
        &mut self,
        batch: Vec<SpanData>,
        deadline: Instant,
        pause: &Pause,
    ) -> Result<u64, ExportError> {
        let mut trip = self.carrier.lock();
        (trip.deadline, trip.pause, trip.outcome) = (deadline, pause.clone(), None);
        drop(trip);
        let result = futures_executor::block_on(self.requests.export(batch));
        match (self.carrier.lock().outcome.take(), result) {
            (Some(outcome), _) => outcome,
            (None, Err(error)) => Err(ExportError::refused(chain(&error))),
            (None, Ok(())) => Ok(0),
        }
    }
}

/// All that the crate would else read from the environment is said, so that it does not: save for headers, which
/// the client has its own of, and compression, which cannot be said to be none.
fn requests(
    carrier: Carrier,
    address: String,
    config: &OtlpConfig,
) -> Result<SpanExporter, opentelemetry_otlp::ExporterBuildError> {
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(carrier)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .with_timeout(config.timeout);
    match config.compression == Compression::Gzip || environment_compresses() {
        true => builder.with_compression(Wanted::Gzip).build(),
        false => builder.build(),
    }
}

/// The crate would follow these variables, and fail on the value `none`. It is told gzip instead, which the client
/// undoes if it was not meant.
fn environment_compresses() -> bool {
    [
        opentelemetry_otlp::OTEL_EXPORTER_OTLP_COMPRESSION,
        opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_COMPRESSION,
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some())
}

#[derive(Clone)]
struct Carrier(Arc<Mutex<Trip>>);

struct Trip {
    transport: HttpTransport,
    deadline: Instant,
    pause: Pause,
    /// What became of the batch that was sent last.
    outcome: Option<Result<u64, ExportError>>,
}

impl Carrier {
    fn lock(&self) -> MutexGuard<'_, Trip> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It blocks, on the queue's thread, which has nothing else to do.
#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut trip = self.lock();
        let Trip {
            transport,
            deadline,
            pause,
            ..
        } = &mut *trip;
        let compressed = request.headers().contains_key("content-encoding");
        let outcome = transport
            .body(request.into_body(), compressed)
            .and_then(|body| send_until(*deadline, pause, || transport.send(&body, *deadline)));
        let result = outcome.clone();
        trip.outcome = Some(outcome);
        result
            .map(|_| Response::new(Bytes::new()))
            .map_err(Into::into)
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}
