//! Several observers behind one. A panic of one is passed on after all have been notified.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use super::{
    CallEnd, CallObserver, CallStart, Observer, RecordOrigin, RequestMetadata, Wants, WorkerEvent,
    WorkerRecord,
};

/// The observers of a pool that has more than one, and which records each wants.
#[derive(Debug)]
struct FanOut(Vec<(Arc<dyn Observer>, Wants)>);

/// `None` without observers; a single one is returned as it is.
pub(crate) fn together(mut observers: Vec<Arc<dyn Observer>>) -> Option<Arc<dyn Observer>> {
    match observers.len() {
        0 | 1 => observers.pop(),
        _ => Some(Arc::new(FanOut::new(observers))),
    }
}

impl FanOut {
    fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        let with_wants = |it: Arc<dyn Observer>| {
            let wants = it.wants();
            (it, wants)
        };
        Self(observers.into_iter().map(with_wants).collect())
    }
}

impl Observer for FanOut {
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        let calls = self.0.iter().filter_map(|(it, _)| it.begin(call, metadata));
        let mut calls: Vec<_> = calls.collect();
        match calls.len() {
            0 | 1 => calls.pop(),
            _ => Some(Box::new(FanOutOfCall(calls))),
        }
    }

    fn prepare_next(&self) {
        each(&self.0, |(it, _)| it.prepare_next());
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        each(&self.0, |(it, _)| it.worker(event));
    }

    fn wants(&self) -> Wants {
        let all = self.0.iter().map(|(_, wants)| *wants);
        all.fold(Wants::default(), |all, one| Wants {
            spans: all.spans || one.spans,
            metrics: all.metrics || one.metrics,
        })
    }

    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
        let wanting = self.0.iter().filter(|(_, wants)| wants.wants(&record));
        let wanting: Vec<_> = wanting.map(|(it, _)| it).collect();
        let last = wanting.len().saturating_sub(1);
        let mut record = Some(record);
        each(wanting.into_iter().enumerate(), |(place, it)| {
            let own = match place == last {
                true => record.take(),
                false => record.clone(),
            };
            own.into_iter().for_each(|own| it.record(from, own));
        });
    }
}

struct FanOutOfCall(Vec<Box<dyn CallObserver>>);

impl CallObserver for FanOutOfCall {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        each(self.0, |it| it.end(end));
    }
}

fn each<T>(all: impl IntoIterator<Item = T>, mut notify: impl FnMut(T)) {
    let mut panic = None;
    for one in all {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| notify(one))) {
            panic.get_or_insert(cause);
        }
    }
    if let Some(cause) = panic {
        resume_unwind(cause);
    }
}
