//! The prepared record of a thread's next call, with ids, a trace and the sampling decision. It is made while workers
//! run functions, so that no call spends time on it.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::record::Record;
use crate::Tracer;

#[derive(Default)]
enum Prepared {
    #[default]
    Empty,
    Ready(Box<Record>),
    /// A call has used the ids, but not the memory.
    Used(Box<Record>),
}

thread_local! {
    static PREPARED: Cell<Prepared> = const { Cell::new(Prepared::Empty) };
    static LATEST_NAME: RefCell<Arc<str>> = RefCell::new(Arc::from(""));
}

/// Prepares a record, unless there is one.
pub(super) fn prepare(tracer: &Arc<Tracer>) {
    let _ = PREPARED.try_with(|next| {
        let ready = match next.take() {
            Prepared::Ready(ready) => ready,
            other => other.of(tracer),
        };
        next.set(Prepared::Ready(ready));
    });
}

/// The prepared record, or else a new one.
pub(super) fn take(tracer: &Arc<Tracer>) -> Box<Record> {
    // A thread that ends has no record any more.
    PREPARED.try_with(Cell::take).unwrap_or_default().of(tracer)
}

/// Takes the record of a call that makes no spans. Its ids are used.
pub(super) fn give_back(record: Box<Record>) {
    let _ = PREPARED.try_with(|next| next.set(Prepared::Used(record)));
}

impl Prepared {
    fn of(self, tracer: &Arc<Tracer>) -> Box<Record> {
        match self {
            Self::Ready(ready) if Arc::ptr_eq(&ready.tracer, tracer) => ready,
            Self::Used(mut used) if Arc::ptr_eq(&used.tracer, tracer) => {
                used.draw();
                used
            }
            _ => new(tracer),
        }
    }
}

/// The next call is most likely of the same function as the last one.
fn new(tracer: &Arc<Tracer>) -> Box<Record> {
    let latest = LATEST_NAME.try_with(|it| Arc::clone(&it.borrow()));
    let function = latest.unwrap_or_else(|_| Arc::from(""));
    Box::new(Record::new(tracer, function))
}

/// The name. It shares memory with the previous call of this thread if the function is the same.
pub(super) fn shared(name: &str) -> Arc<str> {
    let found = LATEST_NAME.try_with(|latest| {
        let mut latest = latest.borrow_mut();
        if **latest != *name {
            *latest = name.into();
        }
        Arc::clone(&latest)
    });
    found.unwrap_or_else(|_| name.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{ExporterType, Provider};

    #[test]
    fn what_is_ready_is_for_one_call_of_the_same_tracer() {
        let [ours, others] = [(), ()].map(|()| Arc::new(Tracer::disabled()));
        prepare(&ours);
        let ready = take(&ours);
        let id = ready.id;
        PREPARED.set(Prepared::Ready(ready));
        prepare(&ours);
        assert_eq!(take(&ours).id, id);
        assert_ne!(take(&ours).id, id);
        prepare(&others);
        assert!(Arc::ptr_eq(&take(&ours).tracer, &ours));
    }

    #[test]
    fn what_is_given_back_serves_another_call_with_other_ids() {
        let tracer = Arc::new(Tracer::disabled());
        for prepares in [true, false] {
            let used = take(&tracer);
            let (ids, memory) = ((used.id, used.inner), &raw const *used);
            give_back(used);
            if prepares {
                prepare(&tracer);
            }
            let next = take(&tracer);
            assert_eq!(&raw const *next, memory);
            assert!(next.id != ids.0 && next.inner != ids.1);
        }
    }

    #[test]
    fn each_call_has_a_trace_of_its_own_sampled_or_not() {
        let provider = Provider::builder()
            .enabled(true)
            .exporter_type(ExporterType::None)
            .sampling_rate(0.5)
            .start()
            .unwrap();
        let tracer = Arc::new(provider.tracer("a"));
        let (mut traces, mut sampled) = (BTreeSet::new(), 0);
        for call in 0..200 {
            if call % 2 == 0 {
                prepare(&tracer);
            }
            let record = take(&tracer);
            let new_span = &record.new_span;
            assert!(traces.insert(new_span.trace.to_bytes()));
            assert_eq!(new_span.records, new_span.flags.is_sampled());
            match new_span.records {
                true => sampled += 1,
                false => give_back(record),
            }
        }
        assert!(0 < sampled && sampled < 200);
    }
}
