//! Batches in which spans of several processes are mixed.

use std::sync::Arc;

use opentelemetry_sdk::{Resource, trace::SpanData};

use super::Ended;
use crate::ExportError;

/// Hands the spans of each resource to `send`, which says how many of them were refused; spans without a resource have this
/// service's. What fails for one resource fails for it alone: its spans then count as refused, unless all failed.
pub(super) fn send_by_resource(
    batch: Vec<Ended>,
    own: &Arc<Resource>,
    mut send: impl FnMut(&Arc<Resource>, Vec<SpanData>) -> Result<u64, ExportError>,
) -> Result<u64, ExportError> {
    let (mut refused, mut arrived, mut failure) = (0, false, None);
    for (resource, spans) in by_resource(batch, own) {
        let count = spans.len() as u64;
        match send(&resource, spans) {
            Ok(some) => {
                refused += some;
                arrived = true;
            }
            Err(error) => {
                refused += count;
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if !arrived => Err(error),
        _ => Ok(refused),
    }
}

/// A batch has few resources: looking through them is quicker than a map.
pub(super) fn by_resource(
    batch: Vec<Ended>,
    own: &Arc<Resource>,
) -> Vec<(Arc<Resource>, Vec<SpanData>)> {
    let mut groups: Vec<(Arc<Resource>, Vec<SpanData>)> = Vec::new();
    for Ended { span, resource } in batch {
        let resource = resource.unwrap_or_else(|| Arc::clone(own));
        match groups.iter_mut().find(|(it, _)| Arc::ptr_eq(it, &resource)) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((resource, vec![span])),
        }
    }
    groups
}
