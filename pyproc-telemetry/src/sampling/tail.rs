//! Tail sampling: which spans are kept although the head sampler did not sample them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::trace::SpanData;

use super::{rule::TailRule, subtrees::Subtrees};
use crate::{TailSampling, export::Sink};

/// Holds unsampled spans until their local root has ended.
#[derive(Debug)]
pub(crate) struct TailSampler {
    rule: TailRule,
    held: Mutex<Subtrees>,
    next: Arc<dyn Sink>,
}

impl TailSampler {
    pub(crate) fn new(config: TailSampling, next: Arc<dyn Sink>) -> Self {
        Self {
            rule: TailRule {
                failed: config.failed,
                slower_than: config.slower_than,
            },
            held: Mutex::new(Subtrees::new(&config)),
            next,
        }
    }

    /// A span was started here. Sampled spans need no tail sampling.
    pub(crate) fn started(&self, span: &SpanContext, parent: &SpanContext) {
        if span.is_sampled() {
            return;
        }
        let evicted = self.held().started(span, parent);
        self.pass_on(evicted);
    }

    /// A span has ended, here or elsewhere.
    pub(crate) fn ended(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.next.accept(span.into());
            return;
        }
        let kept = self.held().ended(span, &self.rule);
        self.pass_on(kept);
    }

    /// Decides all held spans, as no span will end any more.
    pub(crate) fn finish(&self) {
        let kept = self.held().finish();
        self.pass_on(kept);
    }

    fn pass_on(&self, spans: Vec<SpanData>) {
        for span in spans {
            self.next.accept(sampled(span).into());
        }
    }

    fn held(&self) -> MutexGuard<'_, Subtrees> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of spans that could not be held.
    pub(crate) fn evicted(&self) -> u64 {
        self.held().evicted()
    }
}

/// The span is exported, so it counts as sampled from here on.
fn sampled(mut span: SpanData) -> SpanData {
    let context = &span.span_context;
    span.span_context = SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags().with_sampled(true),
        context.is_remote(),
        context.trace_state().clone(),
    );
    span
}
