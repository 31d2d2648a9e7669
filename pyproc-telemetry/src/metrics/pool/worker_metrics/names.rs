//! Names that the service uses for its own metrics.

use std::collections::HashMap;

use prometheus::{
    Error, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// A collector that is never registered. A registry reports that a name is in use only on registration, and it never
/// forgets the labels and the help of a registered name. This registration always fails: for a name that is in use, or
/// for a free name that it contains twice.
struct NameProbe([Desc; 2]);

impl Collector for NameProbe {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        Vec::new()
    }
}

/// Whether the registry has a metric of this name, without labels of its own or with these.
pub(super) fn is_taken(registry: &Registry, name: &str, constant: &[(String, String)]) -> bool {
    let with: HashMap<_, _> = constant.iter().cloned().collect();
    [HashMap::new(), with].into_iter().any(|labels| {
        let probe = Desc::new(name.into(), "Is it taken?".into(), Vec::new(), labels);
        // An invalid name is not in use. The registry remembers the help of the probe, whose id is that of the name.
        probe.is_ok_and(|probe| {
            let probe = Desc {
                fq_name: "pyproc_question".into(),
                dim_hash: 0,
                ..probe
            };
            let answer = registry.register(Box::new(NameProbe([probe.clone(), probe])));
            matches!(answer, Err(Error::AlreadyReg))
        })
    })
}
