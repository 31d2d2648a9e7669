//! Counters of spans, by what became of them.

use std::{collections::HashMap, sync::Arc};

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::{Counter, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::{ExportStats, Provider, provider::Pipeline};

const ENDED: &str = "pyproc_spans_total";
const ENDED_HELP: &str = "Sampled spans that ended, by what became of them.";
const FAILURES: &str = "pyproc_span_export_failures_total";
const FAILURES_HELP: &str = "Batches of spans that could not be exported.";

/// Adds counters of a provider's spans to a registry:
///
/// - `pyproc_spans_total{outcome}`, where the outcome is `exported`, `refused`, `failed`, `queue_full`, `shut_down`, of spans made in a
///   worker `lost_in_worker` and `malformed`, and of unsampled spans that tail sampling could not hold, `evicted`;
/// - `pyproc_span_export_failures_total`.
///
/// They are those of [`Provider::stats`], which each scrape reads. A provider that is not enabled adds nothing.
///
/// # Errors
///
/// The registry already has metrics of these names.
pub fn register_pipeline(
    provider: &Provider,
    registry: &Registry,
) -> Result<(), prometheus::Error> {
    let Some(pipeline) = provider.pipeline() else {
        return Ok(());
    };
    let ended = Desc::new(
        ENDED.into(),
        ENDED_HELP.into(),
        vec!["outcome".into()],
        HashMap::new(),
    )?;
    let failures = Desc::new(
        FAILURES.into(),
        FAILURES_HELP.into(),
        vec![],
        HashMap::new(),
    )?;
    registry.register(Box::new(PipelineCollector {
        pipeline,
        descriptions: [ended, failures],
    }))
}

struct PipelineCollector {
    pipeline: Arc<Pipeline>,
    descriptions: [Desc; 2],
}

impl Collector for PipelineCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.pipeline.stats();
        let ended = outcomes(&stats).map(|(outcome, count)| {
            let mut label = LabelPair::default();
            label.set_name("outcome".into());
            label.set_value(outcome.into());
            metric(vec![label], count)
        });
        vec![
            family(ENDED, ENDED_HELP, ended.into()),
            family(
                FAILURES,
                FAILURES_HELP,
                vec![metric(vec![], stats.failures)],
            ),
        ]
    }
}

fn outcomes(stats: &ExportStats) -> [(&'static str, u64); 8] {
    [
        ("evicted", stats.evicted),
        ("exported", stats.exported),
        ("failed", stats.failed),
        ("lost_in_worker", stats.lost_in_worker),
        ("malformed", stats.malformed),
        ("queue_full", stats.queue_full),
        ("refused", stats.refused),
        ("shut_down", stats.shut_down),
    ]
}

fn metric(labels: Vec<LabelPair>, count: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn family(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(metrics);
    family
}
