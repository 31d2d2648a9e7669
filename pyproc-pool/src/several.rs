//! Several observers as one.

use std::sync::Arc;

use crate::observe::{
    CallEnd, CallObserver, CallStart, Carried, Observer, Reporter, Wants, WorkerEvent, WorkerRecord,
};

/// All that watch a pool that more than one watches.
#[derive(Debug)]
pub(crate) struct Several(pub(crate) Vec<Arc<dyn Observer>>);

/// `None` if nobody watches; one alone as it is.
pub(crate) fn together(mut observers: Vec<Arc<dyn Observer>>) -> Option<Arc<dyn Observer>> {
    match observers.len() {
        0 | 1 => observers.pop(),
        _ => Some(Arc::new(Several(observers))),
    }
}

impl Observer for Several {
    fn begin(&self, call: &CallStart<'_>) -> Option<Box<dyn CallObserver>> {
        let mut calls: Vec<_> = self.0.iter().filter_map(|it| it.begin(call)).collect();
        match calls.len() {
            0 | 1 => calls.pop(),
            _ => Some(Box::new(SeveralOfCall(calls))),
        }
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        self.0.iter().for_each(|it| it.worker(event));
    }

    fn wants(&self) -> Wants {
        let all = self.0.iter().map(|it| it.wants());
        all.fold(Wants::default(), |all, one| Wants {
            spans: all.spans || one.spans,
            metrics: all.metrics || one.metrics,
        })
    }

    fn record(&self, from: Reporter, record: WorkerRecord) {
        let wanted = |it: &&Arc<dyn Observer>| match record {
            WorkerRecord::Span(_) => it.wants().spans,
            WorkerRecord::Metrics(_) => it.wants().metrics,
            WorkerRecord::Lost(_) => it.wants() != Wants::default(),
        };
        let wanting: Vec<_> = self.0.iter().filter(wanted).collect();
        let Some((last, others)) = wanting.split_last() else {
            return;
        };
        others.iter().for_each(|it| it.record(from, record.clone()));
        last.record(from, record);
    }
}

struct SeveralOfCall(Vec<Box<dyn CallObserver>>);

impl CallObserver for SeveralOfCall {
    fn carry(&mut self, carried: &mut Carried<'_>) {
        self.0.iter_mut().for_each(|it| it.carry(carried));
    }

    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        self.0.into_iter().for_each(|it| it.end(end));
    }
}
