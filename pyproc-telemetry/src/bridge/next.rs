//! What a thread keeps for its next call: a record with ids of its own, made while workers work, where it takes no call's time.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::record::Record;
use crate::Tracer;

thread_local! {
    static NEXT: Cell<Option<Box<Record>>> = const { Cell::new(None) };
    static LATEST_NAME: RefCell<Arc<str>> = RefCell::new(Arc::from(""));
}

/// Sees to it that there is one.
pub(super) fn prepare(tracer: &Arc<Tracer>) {
    let _ = NEXT.try_with(|next| {
        let ready = next.take().unwrap_or_else(|| new(tracer));
        next.set(Some(ready));
    });
}

/// The one that is ready, or else a new one.
pub(super) fn take(tracer: &Arc<Tracer>) -> Box<Record> {
    // A thread that ends has none any more.
    let ready = NEXT.try_with(Cell::take).ok().flatten();
    let ours = ready.filter(|it| Arc::ptr_eq(&it.tracer, tracer));
    ours.unwrap_or_else(|| new(tracer))
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
    use super::*;

    #[test]
    fn what_is_ready_is_for_one_call_of_the_same_tracer() {
        let [ours, others] = [(), ()].map(|()| Arc::new(Tracer::disabled()));
        prepare(&ours);
        let ready = NEXT.take().unwrap();
        let id = ready.id;
        NEXT.set(Some(ready));
        prepare(&ours);
        assert_eq!(take(&ours).id, id);
        assert_ne!(take(&ours).id, id);
        prepare(&others);
        assert!(Arc::ptr_eq(&take(&ours).tracer, &ours));
    }
}
