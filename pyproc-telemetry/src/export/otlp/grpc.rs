//! OTLP over gRPC.
//!
//! Not the exporter of `opentelemetry-otlp`. It gives neither a call's status nor the number of refused spans, which
//! the counts need. It adds the environment's headers, and a shutdown cannot interrupt its pauses between attempts.

use std::{sync::Arc, time::Instant};

use opentelemetry_proto::{
    tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
    },
    transform::trace::tonic::group_spans_by_resource_and_scope,
};
use opentelemetry_sdk::Resource;
use tonic::codec::CompressionEncoding::Gzip;

use super::{Failure, grpc_client::GrpcTransport, refused, send_until};
use crate::{
    Compression, OtlpConfig, StartError,
    config::Endpoint,
    export::{Ended, Exporter, Pause, Undelivered, resources::by_resource},
};

pub(crate) struct GrpcExporter {
    transport: GrpcTransport,
    compression: Compression,
    resource: Arc<Resource>,
}

impl GrpcExporter {
    pub(crate) fn new(
        endpoint: Endpoint,
        config: &OtlpConfig,
        resource: Resource,
    ) -> Result<Self, StartError> {
        Ok(Self {
            transport: GrpcTransport::new(endpoint, config)?,
            compression: config.compression,
            resource: Arc::new(resource),
        })
    }

    fn send(
        &mut self,
        message: &ExportTraceServiceRequest,
        deadline: Instant,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let compression = self.compression;
        let call = async |channel, request| {
            let client = TraceServiceClient::new(channel);
            let mut client = match compression {
                Compression::Gzip => client.send_compressed(Gzip).accept_compressed(Gzip),
                Compression::None => client,
            };
            client.export(request).await
        };
        self.transport.send(message.clone(), deadline, call)
    }
}

impl Exporter for GrpcExporter {
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered {
        let count = batch.len() as u64;
        let groups = by_resource(batch, &self.resource).into_iter();
        let message = ExportTraceServiceRequest {
            resource_spans: groups
                .flat_map(|(resource, spans)| {
                    group_spans_by_resource_and_scope(spans, &resource.as_ref().into())
                })
                .collect(),
        };
        let result = send_until(deadline, pause, || self.send(&message, deadline));
        Undelivered::of(count, result.map(refused))
    }
}
