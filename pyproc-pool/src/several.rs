//! Several observers as one.

use std::sync::Arc;

use crate::observe::{
    CallEnd, CallObserver, CallStart, Carried, Observer, Reporter, Wants, WorkerEvent, WorkerRecord,
};

/// All that watch a pool that more than one watches, and what they want.
#[derive(Debug)]
struct Several(Vec<(Arc<dyn Observer>, Wants)>);

/// `None` if nobody watches; one alone as it is.
pub(crate) fn together(mut observers: Vec<Arc<dyn Observer>>) -> Option<Arc<dyn Observer>> {
    match observers.len() {
        0 | 1 => observers.pop(),
        _ => Some(Arc::new(Several::new(observers))),
    }
}

impl Several {
    fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        let with_wants = |it: Arc<dyn Observer>| {
            let wants = it.wants();
            (it, wants)
        };
        Self(observers.into_iter().map(with_wants).collect())
    }
}

impl Observer for Several {
    fn begin(&self, call: &CallStart<'_>) -> Option<Box<dyn CallObserver>> {
        let mut calls: Vec<_> = self.0.iter().filter_map(|(it, _)| it.begin(call)).collect();
        match calls.len() {
            0 | 1 => calls.pop(),
            _ => Some(Box::new(SeveralOfCall(calls))),
        }
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        self.0.iter().for_each(|(it, _)| it.worker(event));
    }

    fn wants(&self) -> Wants {
        let all = self.0.iter().map(|(_, wants)| *wants);
        all.fold(Wants::default(), |all, one| Wants {
            spans: all.spans || one.spans,
            metrics: all.metrics || one.metrics,
        })
    }

    fn record(&self, from: Reporter, record: WorkerRecord) {
        let wanting = self.0.iter().filter(|(_, wants)| wants.wants(&record));
        let wanting: Vec<_> = wanting.map(|(it, _)| it).collect();
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
