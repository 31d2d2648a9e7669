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
    export::{Ended, Exporter, Pause, Undelivered, resources::send_by_resource, sdk::Told},
};

pub(crate) struct HttpExporter {
    requests: Told<SpanExporter>,
    carrier: Carrier,
    resource: Arc<Resource>,
}

impl HttpExporter {
    pub(crate) fn new(
        endpoint: Endpoint,
        config: &OtlpConfig,
        resource: Resource,
    ) -> Result<Self, StartError> {
        let address = endpoint.to_string();
        let carrier = Carrier(Arc::new(Mutex::new(Trip {
            transport: HttpTransport::new(endpoint, config)?,
            deadline: Instant::now(),
            pause: Pause::default(),
            outcome: None,
        })));
        let requests = requests(carrier.clone(), address, config)
            .map_err(|error| ConfigError::new("otlp.endpoint", chain(&error)))?;
        let resource = Arc::new(resource);
        Ok(Self {
            requests: Told::new(requests, Arc::clone(&resource)),
            carrier,
            resource,
        })
    }
}

impl Exporter for HttpExporter {
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered {
        let Self {
            requests,
            carrier,
            resource,
        } = self;
        send_by_resource(batch, resource, |resource, spans| {
            carrier.carry(deadline, pause, || requests.export(resource, spans))
        })
    }
}

/// All that the crate would else read from the environment is said, so that it does not: save for headers, which
/// the client has its own of, and compression, which cannot be said to be none. The client tries again itself, and
/// how large a request may be is the collector's to say.
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
        .with_timeout(config.timeout)
        .with_retry_policy(RetryPolicy::disabled())
        .with_max_request_body_size(usize::MAX);
    match config.compression == Compression::Gzip || environment_compresses() {
        true => builder.with_compression(Wanted::Gzip).build(),
        false => builder.build(),
    }
}

/// The crate would follow these variables. It is told gzip instead, which the client undoes if it was not meant.
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
    /// Makes a request by `export`, and says what became of it.
    fn carry(
        &self,
        deadline: Instant,
        pause: &Pause,
        export: impl FnOnce() -> Result<(), ExportError>,
    ) -> Result<u64, ExportError> {
        let mut trip = self.lock();
        (trip.deadline, trip.pause, trip.outcome) = (deadline, pause.clone(), None);
        drop(trip);
        let result = export();
        match (self.lock().outcome.take(), result) {
            (Some(outcome), _) => outcome,
            (None, Err(error)) => Err(ExportError::refused(error.reason)),
            (None, Ok(())) => Ok(0),
        }
    }

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
            .and_then(|body| send_until(*deadline, pause, || transport.send(&body, *deadline)))
            // What it says beside its success is not worth losing the success for.
            .map(|body| refused(ExportTraceServiceResponse::decode(&*body).unwrap_or_default()));
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
