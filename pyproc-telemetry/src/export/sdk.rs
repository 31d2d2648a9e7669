//! Any exporter made for the OpenTelemetry SDK.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter},
};

use super::{Ended, Exporter, Pause, Undelivered, resources::send_by_resource};
use crate::{ExportError, error::chain};

/// The limit for an exporter's own shutdown. The provider's shutdown does not wait longer than its own limit.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(crate) struct SdkExporter<E> {
    exporter: ResourceExporter<E>,
    own: Arc<Resource>,
}

/// An exporter, and the resource that was set last.
pub(in crate::export) struct ResourceExporter<E> {
    exporter: E,
    resource: Arc<Resource>,
}

impl<E: SpanExporter> SdkExporter<E> {
    pub(crate) fn new(exporter: E, own: Resource) -> Self {
        let own = Arc::new(own);
        Self {
            exporter: ResourceExporter::new(exporter, Arc::clone(&own)),
            own,
        }
    }
}

impl<E: SpanExporter> Exporter for SdkExporter<E> {
    /// The exporter's own limits apply: the SDK's interface has no deadline.
    fn export(&mut self, batch: Vec<Ended>, _deadline: Instant, _pause: &Pause) -> Undelivered {
        send_by_resource(batch, &self.own, |resource, spans| {
            self.exporter.export(resource, spans).map(|()| 0)
        })
    }

    fn close(&mut self) {
        if let Err(error) = self.exporter.exporter.shutdown_with_timeout(LAST_WORDS) {
            tracing::debug!(%error, "the exporter did not shut down cleanly");
        }
    }
}

impl<E: SpanExporter> ResourceExporter<E> {
    pub(in crate::export) fn new(mut exporter: E, resource: Arc<Resource>) -> Self {
        exporter.set_resource(&resource);
        Self { exporter, resource }
    }

    pub(in crate::export) fn export(
        &mut self,
        resource: &Arc<Resource>,
        spans: Vec<SpanData>,
    ) -> Result<(), ExportError> {
        if !Arc::ptr_eq(&self.resource, resource) {
            self.exporter.set_resource(resource);
            self.resource = Arc::clone(resource);
        }
        futures_executor::block_on(self.exporter.export(spans))
            .map_err(|error| ExportError::unreachable(chain(&error)))
    }
}
