//! The OpenTelemetry resources of workers, if their code has set up a provider of the SDK.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use pyproc_pool::{observe::RecordOrigin, protocol::v2::telemetry::Attributes};

use super::worker_span::key_values;

const SERVICE: &str = "service.name";
const PID: &str = "process.pid";

/// The last resource of each worker, which its spans share.
#[derive(Default)]
pub(super) struct WorkerResources(Mutex<BTreeMap<usize, Known>>);

struct Known {
    pid: Option<u32>,
    /// The worker's own attributes.
    given: Attributes,
    resource: Arc<Resource>,
}

impl WorkerResources {
    /// The complete resource for a worker's own attributes.
    pub(super) fn of(
        &self,
        from: RecordOrigin,
        given: Attributes,
        own: &Resource,
    ) -> Arc<Resource> {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = workers.get(&from.worker)
            && known.pid == from.pid
            && known.given == given
        {
            return Arc::clone(&known.resource);
        }
        let resource = Arc::new(completed(given.clone(), from.pid, own));
        let known = Known {
            pid: from.pid,
            given,
            resource: Arc::clone(&resource),
        };
        workers.insert(from.worker, known);
        resource
    }
}

/// Adds this service's name, unless the worker has one (the default of Python's SDK counts as none), and the service's
/// attributes of place, such as its pod: a worker runs where the service runs.
fn completed(given: Attributes, pid: Option<u32>, own: &Resource) -> Resource {
    let mut attributes = key_values(given);
    let made_up = |it: &KeyValue| {
        it.key.as_str() == SERVICE && it.value.as_str().starts_with("unknown_service")
    };
    attributes.retain(|it| !made_up(it));
    let has = |name: &str| attributes.iter().any(|it| it.key.as_str() == name);
    let service = own.get(&SERVICE.into()).filter(|_| !has(SERVICE));
    let pid = pid.filter(|_| !has(PID));
    let is_place = |name: &str| !name.starts_with("service.") && !name.starts_with("telemetry.");
    let places: Vec<_> = own
        .iter()
        .filter(|(name, _)| is_place(name.as_str()) && !has(name.as_str()))
        .map(|(name, value)| KeyValue::new(name.clone(), value.clone()))
        .collect();
    attributes.extend(places);
    attributes.extend(service.map(|name| KeyValue::new(SERVICE, name)));
    attributes.extend(pid.map(|pid| KeyValue::new(PID, i64::from(pid))));
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}

impl fmt::Debug for WorkerResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerResources")
    }
}
