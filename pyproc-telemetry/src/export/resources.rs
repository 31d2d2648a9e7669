//! Batches with spans of several processes.

use std::sync::Arc;

use opentelemetry_sdk::{Resource, trace::SpanData};

use super::{Ended, Undelivered};
use crate::ExportError;

/// Calls `send` with the spans of each resource. It returns the number of refused spans. Spans without a resource have
/// that of this service. A failure for one resource does not affect the others.
pub(in crate::export) fn send_by_resource(
    batch: Vec<Ended>,
    own: &Arc<Resource>,
    mut send: impl FnMut(&Arc<Resource>, Vec<SpanData>) -> Result<u64, ExportError>,
) -> Undelivered {
    let mut all = Undelivered::default();
    for (resource, spans) in by_resource(batch, own) {
        let count = spans.len() as u64;
        let of_one = Undelivered::of(count, send(&resource, spans));
        all.refused += of_one.refused;
        all.failed += of_one.failed;
        all.error = of_one.error.or(all.error);
    }
    all
}

/// A batch has few resources, so a linear search is faster than a map. A worker with two providers alternates between
/// two resources, so equal resources may be different pointers.
pub(in crate::export) fn by_resource(
    batch: Vec<Ended>,
    own: &Arc<Resource>,
) -> Vec<(Arc<Resource>, Vec<SpanData>)> {
    let mut groups: Vec<(Arc<Resource>, Vec<SpanData>)> = Vec::new();
    for Ended { span, resource } in batch {
        let resource = resource.unwrap_or_else(|| Arc::clone(own));
        let is_same = |it: &Arc<Resource>| Arc::ptr_eq(it, &resource) || *it == resource;
        match groups.iter_mut().find(|(it, _)| is_same(it)) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((resource, vec![span])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use opentelemetry::{InstrumentationScope, Key, KeyValue, trace::SpanContext};

    use super::*;

    #[test]
    fn spans_of_equal_resources_travel_together() {
        let own = resource("service");
        let turns = ["a", "b", "a", "b", "service"];
        let batch = turns.map(|name| ended(Some(resource(name))));
        let batch = batch.into_iter().chain([ended(None)]).collect();
        let groups = by_resource(batch, &own);
        let sizes: Vec<_> = groups.iter().map(|(_, spans)| spans.len()).collect();
        assert_eq!(sizes, [2, 2, 2]);
    }

    #[test]
    fn what_fails_for_one_resource_counts_as_what_became_of_it() {
        let own = resource("service");
        let batch = ["taken", "partly", "refused", "failed", "failed"];
        let batch = batch.map(|name| ended(Some(resource(name)))).into();
        let of = send_by_resource(batch, &own, |it, _| {
            let name = it.get(&Key::new("service.name")).unwrap();
            match &*name.as_str() {
                "taken" => Ok(0),
                "partly" => Ok(1),
                "refused" => Err(ExportError::refused("no")),
                _ => Err(ExportError::unreachable("nobody")),
            }
        });
        assert_eq!((of.refused, of.failed), (2, 2));
        assert_eq!(of.error.unwrap().reason, "nobody");
    }

    fn resource(name: &str) -> Arc<Resource> {
        let name = KeyValue::new("service.name", name.to_owned());
        Arc::new(Resource::builder_empty().with_attribute(name).build())
    }

    fn ended(resource: Option<Arc<Resource>>) -> Ended {
        let at = std::time::UNIX_EPOCH;
        let span = SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: opentelemetry::SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: opentelemetry::trace::SpanKind::Internal,
            name: "work".into(),
            start_time: at,
            end_time: at,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Default::default(),
            instrumentation_scope: InstrumentationScope::default(),
        };
        Ended { span, resource }
    }
}
