//! What is sampled when it starts, and what is kept when it ends.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use pyproc_telemetry::{MemorySpans, Provider, SamplerType, TailSampling, Tracer};

const SLOW: Duration = Duration::from_secs(1);

/// A tracer of a provider that samples at this rate, and what it exported.
fn rate(rate: f64) -> (Provider, MemorySpans) {
    let spans = MemorySpans::default();
    let provider = Provider::builder()
        .enabled(true)
        .sampling_rate(rate)
        .in_memory(&spans);
    (provider.start().unwrap(), spans)
}

/// One that samples nothing, but keeps what matters.
fn tail(tail: TailSampling) -> (Provider, MemorySpans) {
    let spans = MemorySpans::default();
    let provider = Provider::builder()
        .enabled(true)
        .sampling_rate(0.0)
        .tail_sampling(tail)
        .in_memory(&spans);
    (provider.start().unwrap(), spans)
}

fn failed_or_slow() -> TailSampling {
    TailSampling {
        slower_than: Some(SLOW),
        ..TailSampling::default()
    }
}

fn remote(sampled: bool) -> Context {
    let flags = TraceFlags::default().with_sampled(sampled);
    let span = SpanContext::new(1.into(), 2.into(), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span)
}

fn names(spans: &MemorySpans) -> Vec<String> {
    spans
        .finished()
        .into_iter()
        .map(|span| span.name.into_owned())
        .collect()
}

fn child(tracer: &Tracer, name: &'static str, parent: &Context) -> Context {
    parent.with_span(tracer.start_with_context(name, parent))
}

fn kept_because(span: &SpanData) -> Option<String> {
    let mark = |it: &&KeyValue| it.key.as_str() == "pyproc.kept_because";
    span.attributes
        .iter()
        .find(mark)
        .map(|it| it.value.to_string())
}

#[test]
fn a_rate_samples_that_share_of_traces() {
    let (provider, spans) = rate(0.25);
    let tracer = provider.tracer("t");
    for _ in 0..10_000 {
        tracer.start("s").end();
    }
    // Nine standard deviations.
    let sampled = spans.finished().len();
    assert!((2100..=2900).contains(&sampled), "{sampled}");
}

#[test]
fn the_parent_decides_at_any_rate() {
    for share in [0.0, 0.5, 1.0] {
        for sampled in [true, false] {
            let (provider, spans) = rate(share);
            let mut span = provider
                .tracer("t")
                .start_with_context("s", &remote(sampled));
            assert_eq!(span.span_context().is_sampled(), sampled);
            assert_eq!(span.span_context().trace_id(), 1.into());
            span.end();
            assert_eq!(spans.finished().len(), usize::from(sampled));
        }
    }
}

#[test]
fn every_sampler_does_as_its_name_says() {
    use SamplerType::*;
    // For no parent, one that is sampled, and one that is not, at the rate 0.
    for (sampler, expected) in [
        (AlwaysOn, [true, true, true]),
        (AlwaysOff, [false, false, false]),
        (Ratio, [false, false, false]),
        (ParentBasedAlwaysOn, [true, true, false]),
        (ParentBasedAlwaysOff, [false, true, false]),
        (ParentBasedRatio, [false, true, false]),
    ] {
        let provider = Provider::builder()
            .enabled(true)
            .sampler(sampler)
            .sampling_rate(0.0)
            .in_memory(&MemorySpans::default())
            .start()
            .unwrap();
        let parents = [Context::new(), remote(true), remote(false)];
        let sampled = parents.map(|parent| {
            let span = provider.tracer("t").start_with_context("s", &parent);
            span.span_context().is_sampled()
        });
        assert_eq!(sampled, expected, "{sampler:?}");
    }
}

#[test]
fn an_invalid_parent_is_none() {
    let (provider, spans) = rate(1.0);
    let invalid = Context::new().with_remote_span_context(SpanContext::NONE);
    provider.tracer("t").start_with_context("s", &invalid).end();
    let span = &spans.finished()[0];
    assert!(span.span_context.is_valid());
    assert_eq!(span.parent_span_id, 0.into());
}

#[test]
fn a_subtree_in_which_a_span_failed_is_kept_whole() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let root = child(&tracer, "root", &Context::new());
    assert!(root.span().is_recording() && !root.span().span_context().is_sampled());
    let call = child(&tracer, "call", &root);
    tracer.start_with_context("fine", &call).end();
    let mut bad = tracer.start_with_context("bad", &call);
    bad.set_status(Status::error("no"));
    bad.end();
    call.span().end();
    assert_eq!(names(&spans), [] as [&str; 0]);
    root.span().end();

    assert_eq!(names(&spans), ["fine", "bad", "call", "root"]);
    let kept = spans.finished();
    assert!(kept.iter().all(|span| span.span_context.is_sampled()));
    let reasons: Vec<_> = kept.iter().filter_map(kept_because).collect();
    assert_eq!(reasons, ["failed"]);
    assert_eq!(kept_because(&kept[3]).unwrap(), "failed");
}

#[test]
fn a_slow_subtree_is_kept_and_a_fast_one_is_not() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let start = SystemTime::now();
    for (took, kept) in [
        (SLOW - Duration::from_nanos(1), 0),
        (SLOW, 2),
        (2 * SLOW, 4),
    ] {
        let root = tracer
            .span_builder("root")
            .with_start_time(start)
            .start_with_context(&tracer, &Context::new());
        let root = Context::new().with_span(root);
        tracer.start_with_context("call", &root).end();
        root.span().end_with_timestamp(start + took);
        assert_eq!(spans.finished().len(), kept, "{took:?}");
    }
    assert_eq!(kept_because(&spans.finished()[1]).unwrap(), "slow");
}

#[test]
fn failures_count_only_when_asked_for() {
    let mut config = failed_or_slow();
    config.failed = false;
    let (provider, spans) = tail(config);
    let mut span = provider
        .tracer("t")
        .start_with_context("s", &Context::new());
    span.set_status(Status::error("no"));
    span.end();
    assert_eq!(spans.finished().len(), 0);
}

#[test]
fn the_head_still_decides_for_what_it_samples() {
    let spans = MemorySpans::default();
    let provider = Provider::builder()
        .enabled(true)
        .tail_sampling(failed_or_slow())
        .in_memory(&spans)
        .start()
        .unwrap();
    let tracer = provider.tracer("t");
    let root = child(&tracer, "root", &Context::new());
    tracer.start_with_context("call", &root).end();
    // Not held back.
    assert_eq!(names(&spans), ["call"]);
    root.span().end();
    assert_eq!(kept_because(&spans.finished()[1]), None);
}

#[test]
fn subtrees_of_one_trace_are_decided_one_by_one() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let parent = remote(false);
    let good = child(&tracer, "good", &parent);
    let bad = child(&tracer, "bad", &parent);
    tracer.start_with_context("good call", &good).end();
    tracer.start_with_context("bad call", &bad).end();
    bad.span().set_status(Status::error("no"));
    good.span().end();
    bad.span().end();
    assert_eq!(names(&spans), ["bad call", "bad"]);
}

#[test]
fn late_spans_follow_their_root() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    for (status, expected) in [
        (Status::Ok, vec![]),
        (Status::error("no"), vec!["root", "late", "later"]),
    ] {
        let root = child(&tracer, "root", &Context::new());
        let late = child(&tracer, "late", &root);
        root.span().set_status(status);
        root.span().end();
        // Starts after the root ended, under a span that has not.
        let later = child(&tracer, "later", &late);
        late.span().end();
        later.span().end();
        assert_eq!(names(&spans), expected);
    }
    // A late one that failed is kept although its root was not.
    spans.clear();
    let root = child(&tracer, "root", &Context::new());
    let late = child(&tracer, "late", &root);
    root.span().end();
    late.span().set_status(Status::error("no"));
    late.span().end();
    assert_eq!(names(&spans), ["late"]);
}

#[test]
fn a_span_under_a_subtree_that_is_gone_begins_one_of_its_own() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let root = child(&tracer, "root", &Context::new());
    root.span().end();
    let orphan = child(&tracer, "orphan", &root);
    tracer.start_with_context("call", &orphan).end();
    orphan.span().set_status(Status::error("no"));
    orphan.span().end();
    assert_eq!(names(&spans), ["call", "orphan"]);
}

#[test]
fn spans_over_the_bound_are_counted_and_the_root_is_kept() {
    let mut config = failed_or_slow();
    config.max_spans_per_subtree = 3;
    let (provider, spans) = tail(config);
    let tracer = provider.tracer("t");
    let root = child(&tracer, "root", &Context::new());
    for _ in 0..10 {
        tracer.start_with_context("call", &root).end();
    }
    let mut bad = tracer.start_with_context("bad", &root);
    bad.set_status(Status::error("no"));
    bad.end();
    root.span().end();
    // What failed over the bound still decides.
    assert_eq!(names(&spans), ["call", "call", "call", "root"]);
    assert_eq!(provider.stats().evicted, 8);
    assert_eq!(provider.stats().exported, 4);
}

#[test]
fn all_subtrees_together_hold_a_bounded_number_of_spans() {
    let mut config = failed_or_slow();
    config.max_spans = 4;
    config.max_subtrees = 3;
    let (provider, spans) = tail(config);
    let tracer = provider.tracer("t");
    let plant = || {
        let root = child(&tracer, "root", &Context::new());
        for _ in 0..3 {
            tracer.start_with_context("call", &root).end();
        }
        root
    };
    let (first, second) = (plant(), plant());
    assert_eq!(provider.stats().evicted, 2);
    // One that is decided makes room for as many as it held.
    first.span().end();
    let third = plant();
    assert_eq!(provider.stats().evicted, 2);
    let _fourth = plant();
    assert_eq!(provider.stats().evicted, 2 + 3);
    // So does one that has to go.
    let _fifth = plant();
    assert_eq!(provider.stats().evicted, 5 + 1 + 2);
    for root in [second, third] {
        root.span().set_status(Status::error("no"));
        root.span().end();
    }
    assert_eq!(names(&spans), ["root", "call", "call", "call", "root"]);
}

#[test]
fn children_of_spans_over_the_bound_take_no_subtree_of_their_own() {
    let mut config = failed_or_slow();
    config.max_spans_per_subtree = 1;
    config.max_subtrees = 2;
    let (provider, spans) = tail(config);
    let tracer = provider.tracer("t");
    let failing = child(&tracer, "failing", &Context::new());
    failing.span().set_status(Status::error("no"));
    let root = child(&tracer, "root", &Context::new());
    for _ in 0..10 {
        let over = child(&tracer, "over", &root);
        tracer.start_with_context("under", &over).end();
    }
    root.span().end();
    // Nothing had to make room.
    tracer.start_with_context("call", &failing).end();
    failing.span().end();
    assert_eq!(names(&spans), ["call", "failing"]);
}

#[test]
fn the_oldest_subtree_makes_room_and_what_failed_in_it_is_kept() {
    let mut config = failed_or_slow();
    config.max_subtrees = 2;
    let (provider, spans) = tail(config);
    let tracer = provider.tracer("t");
    let plant = |name, status| {
        let root = child(&tracer, name, &Context::new());
        let mut call = tracer.start_with_context("call", &root);
        call.set_status(status);
        call.end();
        root
    };
    let first = plant("first", Status::Ok);
    let second = plant("second", Status::error("no"));
    let third = plant("third", Status::Ok);
    assert_eq!(provider.stats().evicted, 1);
    let fourth = plant("fourth", Status::Ok);
    assert_eq!(names(&spans), ["call"]);
    assert_eq!(provider.stats().evicted, 1);
    // A root without its subtree is decided alone.
    first.span().set_status(Status::error("no"));
    for root in [first, second, third, fourth] {
        root.span().end();
    }
    assert_eq!(names(&spans), ["call", "first"]);
}

#[test]
fn spans_that_never_end_hold_a_bounded_number_of_others() {
    let mut config = failed_or_slow();
    config.max_subtrees = 10;
    let (provider, _) = tail(config);
    let tracer = provider.tracer("t");
    let mut leaked = Vec::new();
    for _ in 0..1000 {
        let root = child(&tracer, "leaked", &Context::new());
        tracer.start_with_context("call", &root).end();
        leaked.push(root);
    }
    assert_eq!(provider.stats().evicted, 990);
}

#[test]
fn a_shutdown_keeps_what_failed_under_open_roots() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let root = child(&tracer, "root", &Context::new());
    let mut bad = tracer.start_with_context("bad", &root);
    bad.set_status(Status::error("no"));
    bad.end();
    provider.shutdown_blocking().unwrap();
    assert_eq!(names(&spans), ["bad"]);
}

/// A span that ended in a worker.
fn from_worker(trace: &SpanContext, id: u64, parent: u64, status: Status) -> SpanData {
    let context = SpanContext::new(
        trace.trace_id(),
        id.into(),
        trace.trace_flags(),
        false,
        TraceState::NONE,
    );
    SpanData {
        span_context: context,
        parent_span_id: parent.into(),
        parent_span_is_remote: true,
        span_kind: SpanKind::Server,
        name: "pyproc.worker.execute".into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: Default::default(),
    }
}

#[test]
fn spans_made_elsewhere_belong_to_the_subtree_of_their_trace() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let root = child(&tracer, "pyproc.pool.call", &Context::new());
    let context = root.span().span_context().clone();
    // A child comes before its parent, as it ended first.
    assert!(tracer.record(from_worker(&context, 11, 10, Status::error("no"))));
    tracer.record(from_worker(&context, 10, 1, Status::Unset));
    assert_eq!(spans.finished().len(), 0);
    root.span().end();
    assert_eq!(spans.finished().len(), 3);
}

#[test]
fn a_span_made_elsewhere_with_the_id_of_another_does_no_harm() {
    let (provider, spans) = tail(failed_or_slow());
    let tracer = provider.tracer("t");
    let root = child(&tracer, "pyproc.pool.call", &Context::new());
    let call = child(&tracer, "call", &root);
    let context = call.span().span_context().clone();
    let id = u64::from_be_bytes(context.span_id().to_bytes());
    for _ in 0..3 {
        tracer.record(from_worker(&context, id, 0, Status::Unset));
    }
    call.span().end();
    root.span().set_status(Status::error("no"));
    root.span().end();
    assert_eq!(spans.finished().len(), 3 + 2);
}

#[test]
fn unsampled_spans_made_elsewhere_are_not_exported() {
    let (provider, spans) = rate(1.0);
    let tracer = provider.tracer("t");
    let context = |sampled| remote(sampled).span().span_context().clone();
    tracer.record(from_worker(&context(false), 11, 10, Status::error("no")));
    assert_eq!(spans.finished().len(), 0);
    tracer.record(from_worker(&context(true), 11, 10, Status::Unset));
    assert_eq!(spans.finished().len(), 1);
}
