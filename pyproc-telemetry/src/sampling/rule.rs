//! Which spans tail sampling keeps.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::Status};
use opentelemetry_sdk::trace::SpanData;

/// The attribute of a local root with the reason why tail sampling kept it.
const KEPT_BECAUSE: &str = "pyproc.kept_because";

/// Which spans are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailRule {
    pub(super) failed: bool,
    pub(super) slower_than: Option<Duration>,
}

impl TailRule {
    pub(super) fn reason(&self, span: &SpanData) -> Option<&'static str> {
        if self.has_failed(span) {
            return Some("failed");
        }
        let took = span.end_time.duration_since(span.start_time);
        let slow = self.slower_than? <= took.unwrap_or_default();
        slow.then_some("slow")
    }

    pub(super) fn has_failed(&self, span: &SpanData) -> bool {
        self.failed && matches!(span.status, Status::Error { .. })
    }
}

pub(super) fn marked(mut span: SpanData, reason: &'static str) -> SpanData {
    span.attributes.push(KeyValue::new(KEPT_BECAUSE, reason));
    span
}
