//! The metrics of a registry as an OTLP message.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::{
    tonic::{
        collector::metrics::v1::ExportMetricsServiceRequest,
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
        metrics::v1::{
            AggregationTemporality::Cumulative, Exemplar as ExemplarMessage, Gauge, Histogram,
            HistogramDataPoint, Metric as Message, NumberDataPoint, ResourceMetrics, ScopeMetrics,
            Sum, Summary, SummaryDataPoint, exemplar, metric::Data, number_data_point,
            summary_data_point::ValueAtQuantile,
        },
        resource::v1::Resource as ResourceMessage,
    },
    transform::common::tonic::ResourceAttributesWithSchema,
};
use opentelemetry_sdk::Resource;
use prometheus::{
    Registry,
    proto::{LabelPair, Metric, MetricFamily, MetricType},
};

use crate::{
    Exemplars,
    metrics::{
        exemplars::{Exemplar, ExemplarSlot},
        model::Reading,
    },
};

pub(super) struct Writer {
    registry: Registry,
    exemplars: Exemplars,
    resource: ResourceMessage,
    /// The time of the previous report, or of this writer's creation. A series that was not in that report started
    /// later.
    before: u64,
    /// For each cumulative series, its last value and its start.
    totals: HashMap<Series, Total>,
}

type Series = (String, Vec<(String, String)>);

#[derive(Clone, Copy)]
struct Total {
    value: f64,
    start: u64,
    seen: u64,
}

/// One report, at one moment.
struct Report<'a> {
    writer: &'a mut Writer,
    now: u64,
}

impl Writer {
    pub(super) fn new(registry: &Registry, exemplars: &Exemplars, resource: &Resource) -> Self {
        let ResourceAttributesWithSchema { attributes, .. } = resource.into();
        Self {
            registry: registry.clone(),
            exemplars: exemplars.clone(),
            resource: ResourceMessage {
                attributes: attributes.0,
                ..ResourceMessage::default()
            },
            before: now(),
            totals: HashMap::new(),
        }
    }

    /// All metrics as they are now.
    pub(super) fn message(&mut self) -> ExportMetricsServiceRequest {
        let families = self.registry.gather();
        let now = now();
        let mut report = Report { writer: self, now };
        let metrics = families.iter().filter_map(|it| report.metric(it)).collect();
        self.totals.retain(|_, total| total.seen == now);
        self.before = now;
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: env!("CARGO_PKG_NAME").into(),
                        version: env!("CARGO_PKG_VERSION").into(),
                        ..InstrumentationScope::default()
                    }),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }
}

impl Report<'_> {
    fn metric(&mut self, family: &MetricFamily) -> Option<Message> {
        let name = family.name();
        let metrics = family.get_metric().iter();
        let data = match family.get_field_type() {
            MetricType::COUNTER => Data::Sum(Sum {
                data_points: metrics.map(|it| self.counter(name, it)).collect(),
                aggregation_temporality: Cumulative.into(),
                is_monotonic: true,
            }),
            MetricType::GAUGE => Data::Gauge(Gauge {
                data_points: metrics.map(|it| self.gauge(it)).collect(),
            }),
            MetricType::HISTOGRAM => Data::Histogram(Histogram {
                data_points: metrics.map(|it| self.histogram(name, it)).collect(),
                aggregation_temporality: Cumulative.into(),
            }),
            MetricType::SUMMARY => Data::Summary(Summary {
                data_points: metrics.map(|it| self.summary(name, it)).collect(),
            }),
            MetricType::UNTYPED => return None,
        };
        Some(Message {
            name: name.to_owned(),
            description: family.help().to_owned(),
            unit: unit(name).to_owned(),
            data: Some(data),
            ..Message::default()
        })
    }

    fn counter(&mut self, name: &str, metric: &Metric) -> NumberDataPoint {
        let value = metric.get_counter().value();
        let exemplar = self
            .slot(name, metric)
            .and_then(|it| it.latest(f64::INFINITY));
        NumberDataPoint {
            start_time_unix_nano: self.start(name, metric, value),
            exemplars: exemplar.iter().map(exemplar_message).collect(),
            ..self.number(metric, value)
        }
    }

    fn gauge(&mut self, metric: &Metric) -> NumberDataPoint {
        self.number(metric, metric.get_gauge().value())
    }

    fn number(&self, metric: &Metric, value: f64) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(metric.get_label()),
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        }
    }

    fn histogram(&mut self, name: &str, metric: &Metric) -> HistogramDataPoint {
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count();
        let finite = histogram.get_bucket().iter();
        let finite = finite.filter(|it| it.upper_bound().is_finite());
        let (bounds, cumulative): (Vec<_>, Vec<_>) = finite
            .map(|it| (it.upper_bound(), it.cumulative_count()))
            .unzip();
        let slot = self.slot(name, metric);
        let buckets = bounds.iter().copied().chain([f64::INFINITY]);
        let exemplars = buckets.filter_map(|bound| slot.as_ref()?.latest(bound));
        HistogramDataPoint {
            attributes: attributes(metric.get_label()),
            start_time_unix_nano: self.start(name, metric, count as f64),
            time_unix_nano: self.now,
            count,
            sum: Some(histogram.get_sample_sum()),
            bucket_counts: apart(&cumulative, count),
            exemplars: exemplars.map(|it| exemplar_message(&it)).collect(),
            explicit_bounds: bounds,
            ..HistogramDataPoint::default()
        }
    }

    fn summary(&mut self, name: &str, metric: &Metric) -> SummaryDataPoint {
        let summary = metric.get_summary();
        let count = summary.sample_count();
        let quantiles = summary.get_quantile().iter();
        SummaryDataPoint {
            attributes: attributes(metric.get_label()),
            start_time_unix_nano: self.start(name, metric, count as f64),
            time_unix_nano: self.now,
            count,
            sum: summary.sample_sum(),
            quantile_values: quantiles
                .map(|it| ValueAtQuantile {
                    quantile: it.quantile(),
                    value: it.value(),
                })
                .collect(),
            ..SummaryDataPoint::default()
        }
    }

    /// The start of a cumulative series. A value that has fallen started again after the previous report.
    fn start(&mut self, name: &str, metric: &Metric, value: f64) -> u64 {
        let labels = metric.get_label().iter();
        let labels = labels.map(|it| (it.name().to_owned(), it.value().to_owned()));
        let first = Total {
            value,
            start: self.writer.before,
            seen: self.now,
        };
        let series = (name.to_owned(), labels.collect());
        let total = self.writer.totals.entry(series).or_insert(first);
        if value < total.value {
            total.start = total.seen;
        }
        (total.value, total.seen) = (value, self.now);
        total.start
    }

    fn slot(&self, name: &str, metric: &Metric) -> Option<std::sync::Arc<ExemplarSlot>> {
        let labels = metric.get_label().iter();
        let labels = labels.map(|it| (it.name(), it.value()));
        self.writer.exemplars.find(name, labels)
    }
}

/// The counts of the single buckets, and of values above all bounds.
fn apart(cumulative: &[u64], all: u64) -> Vec<u64> {
    let mut below = 0;
    let counts = cumulative.iter().chain([&all]);
    counts
        .map(|count| count.saturating_sub(std::mem::replace(&mut below, *count)))
        .collect()
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    let text = |it: &LabelPair| any_value::Value::StringValue(it.value().to_owned());
    let attribute = |it: &LabelPair| KeyValue {
        key: it.name().to_owned(),
        value: Some(AnyValue {
            value: Some(text(it)),
        }),
        ..KeyValue::default()
    };
    labels.iter().map(attribute).collect()
}

fn exemplar_message(exemplar: &Exemplar) -> ExemplarMessage {
    ExemplarMessage {
        time_unix_nano: nanos(exemplar.at),
        trace_id: exemplar.trace.to_vec(),
        span_id: exemplar.span.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..ExemplarMessage::default()
    }
}

/// The unit that a name ends with, in UCUM.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        _ => "",
    }
}

fn now() -> u64 {
    nanos(SystemTime::now())
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
