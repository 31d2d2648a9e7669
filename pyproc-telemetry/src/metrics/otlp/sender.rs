//! How a report is sent.

use std::time::Instant;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;

#[cfg(feature = "grpc")]
use crate::export::otlp::grpc_client::GrpcTransport;
use crate::{
    ConfigError, ExportError, OtlpConfig, OtlpProtocol, StartError,
    config::Endpoint,
    export::{
        Pause,
        log_limit::LogLimit,
        otlp::{http_client::HttpTransport, send_until},
    },
};

pub(super) enum Sender {
    Http(Box<HttpTransport>),
    #[cfg(feature = "grpc")]
    Grpc(Box<GrpcTransport>, crate::Compression),
}

impl Sender {
    pub(super) fn new(otlp: &OtlpConfig) -> Result<Self, StartError> {
        let invalid = |reason| ConfigError::new("metrics.otlp.endpoint", reason);
        let endpoint = Endpoint::of_metrics(otlp).map_err(invalid)?;
        match otlp.protocol {
            OtlpProtocol::HttpProtobuf => {
                Ok(Self::Http(HttpTransport::new(endpoint, otlp)?.into()))
            }
            #[cfg(feature = "grpc")]
            OtlpProtocol::Grpc => {
                let transport = GrpcTransport::new(endpoint, otlp)?;
                Ok(Self::Grpc(Box::new(transport), otlp.compression))
            }
            #[cfg(not(feature = "grpc"))]
            OtlpProtocol::Grpc => {
                let reason = "grpc needs the feature `grpc` of pyproc-telemetry";
                Err(ConfigError::new("metrics.otlp.protocol", reason).into())
            }
        }
    }

    /// Sends a report until it is delivered or refused, or the deadline passes. Returns the number of refused values.
    pub(super) fn send(
        &mut self,
        message: &ExportMetricsServiceRequest,
        deadline: Instant,
        pause: &Pause,
    ) -> Result<u64, ExportError> {
        let response = match self {
            Self::Http(transport) => {
                let body = transport.body(message.encode_to_vec().into(), false)?;
                let answer = send_until(deadline, pause, || transport.send(&body, deadline))?;
                // A malformed body does not turn a success into a failure.
                ExportMetricsServiceResponse::decode(&*answer).unwrap_or_default()
            }
            #[cfg(feature = "grpc")]
            Self::Grpc(transport, compression) => send_until(deadline, pause, || {
                grpc::send(transport, *compression, message, deadline)
            })?,
        };
        Ok(refused(response))
    }
}

fn refused(response: ExportMetricsServiceResponse) -> u64 {
    let Some(partial) = response.partial_success else {
        return 0;
    };
    static LIMIT: LogLimit = LogLimit::new();
    let worth_a_line = partial.rejected_data_points > 0 || !partial.error_message.is_empty();
    if worth_a_line && let Some(times) = LIMIT.record_event() {
        tracing::warn!(
            refused = partial.rejected_data_points,
            message = partial.error_message,
            times,
            "the collector did not take all metrics"
        );
    }
    u64::try_from(partial.rejected_data_points).unwrap_or(0)
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::time::Instant;

    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_client::MetricsServiceClient,
    };
    use tonic::codec::CompressionEncoding::Gzip;

    use crate::{
        Compression,
        export::otlp::{Failure, grpc_client::GrpcTransport},
    };

    pub(super) fn send(
        transport: &mut GrpcTransport,
        compression: Compression,
        message: &ExportMetricsServiceRequest,
        deadline: Instant,
    ) -> Result<ExportMetricsServiceResponse, Failure> {
        let call = async |channel, request| {
            let client = MetricsServiceClient::new(channel);
            let mut client = match compression {
                Compression::Gzip => client.send_compressed(Gzip).accept_compressed(Gzip),
                Compression::None => client,
            };
            client.export(request).await
        };
        transport.send(message.clone(), deadline, call)
    }
}
