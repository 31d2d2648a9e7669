//! OTLP over gRPC.
//!
//! Not with the exporter of `opentelemetry-otlp`: it hands out neither a call's status nor what was refused in
//! part, of which our counts are made, adds the environment's headers, and cannot be interrupted between attempts.

use std::time::Instant;

use opentelemetry_proto::{
    tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use tokio::runtime::{Builder, Runtime};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataKey, MetadataValue},
    transport::{Channel, Endpoint as Target, Error},
};

use super::{
    Exporter, Pause,
    otlp::{Failure, send_until},
};
use crate::{
    Compression, ConfigError, ExportError, OtlpConfig, StartError, config::Endpoint, error::chain,
};

type Metadata = Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>;

pub(crate) struct GrpcExporter {
    target: Target,
    compression: Compression,
    metadata: Metadata,
    resource: ResourceAttributesWithSchema,
    connection: Option<Connection>,
}

/// A runtime of its own, made and dropped on the queue's thread: on one of the service's, a shutdown that is
/// waited for could keep the connection from ever being driven.
struct Connection {
    runtime: Runtime,
    client: TraceServiceClient<Channel>,
}

impl GrpcExporter {
    pub(crate) fn new(
        endpoint: Endpoint,
        config: &OtlpConfig,
        resource: &Resource,
    ) -> Result<Self, StartError> {
        let endpoint = Endpoint {
            path: "/".into(),
            ..endpoint
        };
        Ok(Self {
            target: target(&endpoint, config)?,
            compression: config.compression,
            metadata: metadata(config)?,
            resource: resource.into(),
            connection: None,
        })
    }

    fn connection(&mut self) -> Result<&mut Connection, ExportError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .connect()
                .map_err(|error| ExportError::unreachable(chain(&error)))?,
        };
        Ok(self.connection.insert(connection))
    }

    fn connect(&self) -> std::io::Result<Connection> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let client = TraceServiceClient::new(self.target.connect_lazy());
        drop(entered);
        Ok(Connection {
            runtime,
            client: compressed(client, self.compression),
        })
    }

    fn failure(&self, status: &Status) -> Failure {
        let reason = format!("{}: {}", self.target.uri(), chain(status));
        // As the protocol lists them.
        let retryable = matches!(
            status.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        );
        match retryable {
            true => ExportError::unreachable(reason).into(),
            false => ExportError::refused(reason).into(),
        }
    }

    fn send(
        &mut self,
        message: &ExportTraceServiceRequest,
        deadline: Instant,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(message.clone());
        request.set_timeout(left);
        for (name, value) in &self.metadata {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        let Connection { runtime, client } = self.connection()?;
        let exchange = async { tokio::time::timeout(left, client.export(request)).await };
        match runtime.block_on(exchange) {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => {
                let reason = format!("{}: no answer in time", self.target.uri());
                Err(ExportError::unreachable(reason).into())
            }
        }
    }
}

impl Exporter for GrpcExporter {
    fn export(
        &mut self,
        batch: Vec<SpanData>,
        deadline: Instant,
        pause: &Pause,
    ) -> Result<u64, ExportError> {
        let message = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        send_until(deadline, pause, || self.send(&message, deadline))
    }
}

fn target(endpoint: &Endpoint, config: &OtlpConfig) -> Result<Target, StartError> {
    let invalid = |error: Error| StartError::from(ConfigError::new("otlp.endpoint", chain(&error)));
    let target = Target::from_shared(endpoint.to_string())
        .map_err(invalid)?
        .user_agent(concat!("pyproc-telemetry/", env!("CARGO_PKG_VERSION")))
        .map_err(invalid)?
        .connect_timeout(config.timeout);
    match endpoint.tls {
        true => secured(target, config),
        false => Ok(target),
    }
}

#[cfg(feature = "tls")]
fn secured(target: Target, config: &OtlpConfig) -> Result<Target, StartError> {
    use tonic::transport::{Certificate, ClientTlsConfig};

    let tls = match &config.certificate {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| StartError::Tls(error.into()))?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let secured = target.tls_config(tls);
    secured.map_err(|error| StartError::Tls(error.into()))
}

#[cfg(not(feature = "tls"))]
fn secured(_target: Target, _config: &OtlpConfig) -> Result<Target, StartError> {
    let reason = "https needs the feature `tls` of pyproc-telemetry";
    Err(ConfigError::new("otlp.endpoint", reason).into())
}

fn compressed(
    client: TraceServiceClient<Channel>,
    compression: Compression,
) -> TraceServiceClient<Channel> {
    use tonic::codec::CompressionEncoding::Gzip;

    match compression {
        Compression::Gzip => client.send_compressed(Gzip).accept_compressed(Gzip),
        Compression::None => client,
    }
}

fn metadata(config: &OtlpConfig) -> Result<Metadata, ConfigError> {
    let parsed = |(name, value): (&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    config
        .headers
        .iter()
        .map(|header| {
            let reason = || format!("{} cannot be sent over gRPC", header.0);
            parsed(header).ok_or_else(|| ConfigError::new("otlp.headers", reason()))
        })
        .collect()
}
