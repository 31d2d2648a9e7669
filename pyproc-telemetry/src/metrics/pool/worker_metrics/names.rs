//! Names that the service itself has given away.

use std::collections::HashMap;

use prometheus::{
    Error, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// A registry says whether a name is taken only to who registers it, and never forgets the labels and the help of one that
/// it took. So this asks in a way that is always refused: for the name that is taken, or for saying a free one twice.
struct Question([Desc; 2]);

impl Collector for Question {
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
        let question = Desc::new(name.into(), "Is it taken?".into(), Vec::new(), labels);
        // No name that is none is taken. What is remembered is remembered of the question, whose id is that of the name.
        question.is_ok_and(|question| {
            let question = Desc {
                fq_name: "pyproc_question".into(),
                dim_hash: 0,
                ..question
            };
            let answer = registry.register(Box::new(Question([question.clone(), question])));
            matches!(answer, Err(Error::AlreadyReg))
        })
    })
}
