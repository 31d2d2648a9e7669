//! What a thread keeps for its next call: a record with ids and a trace of its own, and whether that is sampled. It is made while
//! workers work, where it takes no call's time.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::record::Record;
use crate::Tracer;

#[derive(Default)]
enum Next {
    #[default]
    Nothing,
    Ready(Box<Record>),
    /// A call has taken the ids, and had no use for the memory.
    Used(Box<Record>),
}

thread_local! {
    static NEXT: Cell<Next> = const { Cell::new(Next::Nothing) };
    static LATEST_NAME: RefCell<Arc<str>> = RefCell::new(Arc::from(""));
}

/// Sees to it that there is one.
pub(super) fn prepare(tracer: &Arc<Tracer>) {
    let _ = NEXT.try_with(|next| {
        let ready = match next.take() {
            Next::Ready(ready) => ready,
            other => other.of(tracer),
        };
        next.set(Next::Ready(ready));
    });
}

/// The one that is ready, or else a new one.
pub(super) fn take(tracer: &Arc<Tracer>) -> Box<Record> {
    // A thread that ends has none any more.
    NEXT.try_with(Cell::take).unwrap_or_default().of(tracer)
}

/// Its call makes no spans, and has taken its ids.
pub(super) fn give_back(record: Box<Record>) {
    let _ = NEXT.try_with(|next| next.set(Next::Used(record)));
}

impl Next {
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

/// Most likely the next call is of the same function as the last one.
fn new(tracer: &Arc<Tracer>) -> Box<Record> {
    let latest = LATEST_NAME.try_with(|it| Arc::clone(&it.borrow()));
    let function = latest.unwrap_or_else(|_| Arc::from(""));
    Box::new(Record::new(tracer, function))
}

/// The name, in memory that it shares with the call before if that was of the same function.
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
        NEXT.set(Next::Ready(ready));
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
            let begun = &record.begun;
            assert!(traces.insert(begun.trace.to_bytes()));
            assert_eq!(begun.records, begun.flags.is_sampled());
            match begun.records {
                true => sampled += 1,
                false => give_back(record),
            }
        }
        assert!(0 < sampled && sampled < 200);
    }
}
