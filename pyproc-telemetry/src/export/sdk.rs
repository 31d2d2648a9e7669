//! Any exporter made for the OpenTelemetry SDK.

use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::{Exporter, Pause};
use crate::{ExportError, error::chain};

/// For the last words of an exporter; nobody waits for them beyond the limit of the shutdown.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(crate) struct SdkExporter<E>(pub(crate) E);

impl<E: SpanExporter> Exporter for SdkExporter<E> {
    /// Its own limits apply: the SDK's interface has no deadline.
    fn export(
        &mut self,
        batch: Vec<SpanData>,
        _deadline: Instant,
        _pause: &Pause,
    ) -> Result<u64, ExportError> {
        futures_executor::block_on(self.0.export(batch))
            .map(|()| 0)
            .map_err(|error| ExportError::unreachable(chain(&error)))
    }

    fn close(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_WORDS) {
            tracing::debug!(%error, "the exporter did not shut down cleanly");
        }
    }
}
