//! OpenMetrics 1.0, for which the `prometheus` crate has no encoder.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
};

use prometheus::{
    Error,
    proto::{Metric, MetricFamily, MetricType},
};

use crate::metrics::{
    exemplars::{Exemplar, ExemplarSlot, Exemplars},
    model::Reading,
};

/// Suffixes of names that are units.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// The last line.
pub(super) const END: &[u8] = b"# EOF\n";

/// Appends one series, below the family's header if it is the first.
pub(in crate::metrics) fn series(
    family: &MetricFamily,
    metric: &Metric,
    is_first: bool,
    exemplars: &Exemplars,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if family.name().is_empty() {
        return Err(Error::Msg("a metric has no name".into()));
    }
    let kind = family.get_field_type();
    // A counter's family lacks the suffix that its samples have.
    let name = match kind {
        MetricType::COUNTER => family
            .name()
            .strip_suffix("_total")
            .unwrap_or(family.name()),
        _ => family.name(),
    };
    if is_first {
        write_header(out, name, family)?;
    }
    let labels = metric.get_label().iter();
    let labels = labels.map(|label| (label.name(), label.value()));
    let slot = exemplars.find(family.name(), labels);
    write_metric(&mut Samples { out, name, metric }, kind, slot.as_deref())?;
    Ok(())
}

fn write_header(out: &mut Vec<u8>, name: &str, family: &MetricFamily) -> io::Result<()> {
    writeln!(out, "# TYPE {name} {}", type_name(family.get_field_type()))?;
    let is_unit = |unit: &&&str| {
        name.strip_suffix(**unit)
            .is_some_and(|it| it.ends_with('_'))
    };
    if let Some(unit) = UNITS.iter().find(is_unit) {
        writeln!(out, "# UNIT {name} {unit}")?;
    }
    if !family.help().is_empty() {
        writeln!(out, "# HELP {name} {}", Escaped(family.help()))?;
    }
    Ok(())
}

fn write_metric(
    samples: &mut Samples<'_>,
    kind: MetricType,
    slot: Option<&ExemplarSlot>,
) -> io::Result<()> {
    let metric = samples.metric;
    let latest = |bound: f64| slot.and_then(|slot| slot.latest(bound));
    match kind {
        MetricType::COUNTER => {
            let value = metric.get_counter().value();
            samples.write("_total", None, Number(value), latest(f64::INFINITY))
        }
        MetricType::GAUGE => samples.write("", None, Number(metric.get_gauge().value()), None),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let finite = histogram.get_bucket().iter();
            for bucket in finite.filter(|bucket| bucket.upper_bound().is_finite()) {
                let bound = bucket.upper_bound();
                let label = Some(("le", bound));
                samples.write("_bucket", label, bucket.cumulative_count(), latest(bound))?;
            }
            let all = Some(("le", f64::INFINITY));
            let count = histogram.get_sample_count();
            samples.write("_bucket", all, count, latest(f64::INFINITY))?;
            samples.write("_count", None, count, None)?;
            samples.write("_sum", None, Number(histogram.get_sample_sum()), None)
        }
        MetricType::SUMMARY => {
            let summary = metric.get_summary();
            for quantile in summary.get_quantile() {
                let label = Some(("quantile", quantile.quantile()));
                samples.write("", label, Number(quantile.value()), None)?;
            }
            samples.write("_count", None, summary.sample_count(), None)?;
            samples.write("_sum", None, Number(summary.sample_sum()), None)
        }
        // Omitted by the caller.
        MetricType::UNTYPED => Ok(()),
    }
}

fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "unknown",
    }
}

struct Samples<'a> {
    out: &'a mut Vec<u8>,
    name: &'a str,
    metric: &'a Metric,
}

impl Samples<'_> {
    fn write(
        &mut self,
        suffix: &str,
        label: Option<(&str, f64)>,
        value: impl fmt::Display,
        exemplar: Option<Exemplar>,
    ) -> io::Result<()> {
        let out = &mut *self.out;
        write!(out, "{}{suffix}", self.name)?;
        let mut separator = '{';
        for pair in self.metric.get_label() {
            write!(
                out,
                "{separator}{}=\"{}\"",
                pair.name(),
                Escaped(pair.value())
            )?;
            separator = ',';
        }
        if let Some((name, value)) = label {
            write!(out, "{separator}{name}=\"{}\"", Number(value))?;
            separator = ',';
        }
        if separator == ',' {
            out.push(b'}');
        }
        write!(out, " {value}")?;
        match self.metric.timestamp_ms() {
            0 => {}
            millis => write!(
                out,
                " {}.{:03}",
                millis.div_euclid(1000),
                millis.rem_euclid(1000)
            )?,
        }
        if let Some(exemplar) = exemplar {
            write!(out, "{exemplar}")?;
        }
        out.push(b'\n');
        Ok(())
    }
}

/// A number of OpenMetrics: integers have a fraction, infinities have a sign.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value == f64::INFINITY => f.write_str("+Inf"),
            value if value == f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value:?}"),
        }
    }
}

/// Help and the values of labels.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
    use prometheus::{
        Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
        core::Collector,
    };

    use super::*;
    use crate::{MetricsFormat, render_metrics};

    fn rendered(metrics: Vec<Box<dyn Collector>>, exemplars: &Exemplars) -> String {
        let registry = Registry::new();
        for metric in metrics {
            registry.register(metric).unwrap();
        }
        render_metrics(&registry, exemplars, MetricsFormat::OpenMetrics).unwrap()
    }

    fn span(flags: TraceFlags) -> SpanContext {
        SpanContext::new(0xabc.into(), 0xdef.into(), flags, false, TraceState::NONE)
    }

    #[test]
    fn samples_of_a_counter_end_in_total_and_its_family_does_not() {
        let with = IntCounter::new("jobs_total", "Jobs.").unwrap();
        let without = IntCounter::new("tasks", "Tasks.").unwrap();
        with.inc_by(3);
        let text = rendered(
            vec![Box::new(with), Box::new(without)],
            &Exemplars::default(),
        );
        assert_eq!(
            text,
            "# TYPE jobs counter\n# HELP jobs Jobs.\njobs_total 3.0\n\
             # TYPE tasks counter\n# HELP tasks Tasks.\ntasks_total 0.0\n# EOF\n"
        );
    }

    #[test]
    fn help_and_labels_are_escaped() {
        let jobs = IntCounterVec::new(Opts::new("jobs_total", "a \"b\"\\\nc"), &["kind"]).unwrap();
        jobs.with_label_values(&["x\"\\\ny"]).inc();
        let text = rendered(vec![Box::new(jobs)], &Exemplars::default());
        assert!(text.contains(r#"# HELP jobs a \"b\"\\\nc"#), "{text}");
        assert!(
            text.contains(r#"jobs_total{kind="x\"\\\ny"} 1.0"#),
            "{text}"
        );
    }

    #[test]
    fn special_numbers_and_units_are_written_as_the_standard_says() {
        let gauge = |name: &str, value| {
            let gauge = Gauge::new(name, "Help.").unwrap();
            gauge.set(value);
            Box::new(gauge) as Box<dyn Collector>
        };
        let text = rendered(
            vec![
                gauge("a_bytes", f64::INFINITY),
                gauge("b", f64::NEG_INFINITY),
                gauge("c", f64::NAN),
                gauge("d_total", 1e21),
                gauge("seconds", 0.25),
            ],
            &Exemplars::default(),
        );
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.contains(" HELP "))
            .collect();
        let expected = "# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes +Inf\n# TYPE b gauge\nb -Inf\n\
             # TYPE c gauge\nc NaN\n# TYPE d_total gauge\nd_total 1e21\n\
             # TYPE seconds gauge\nseconds 0.25\n# EOF";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn a_histogram_has_its_buckets_and_their_exemplars() {
        let opts = HistogramOpts::new("call_seconds", "Calls.").buckets(vec![0.5, 1.0]);
        let calls = HistogramVec::new(opts, &["name", "kind"]).unwrap();
        let exemplars = Exemplars::default();
        let slot =
            exemplars.histogram("call_seconds", &[("name", "f"), ("kind", "k")], &[0.5, 1.0]);
        let series: Histogram = calls.with_label_values(&["f", "k"]);
        for value in [0.25, 1.0, 7.0] {
            series.observe(value);
        }
        slot.note(1.0, &span(TraceFlags::SAMPLED));
        slot.note(0.25, &span(TraceFlags::NOT_SAMPLED));

        let text = rendered(vec![Box::new(calls)], &exemplars);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "# UNIT call_seconds seconds");
        assert_eq!(
            lines[3],
            r#"call_seconds_bucket{kind="k",name="f",le="0.5"} 1"#
        );
        let (sample, exemplar) = lines[4].split_once(" # ").unwrap();
        assert_eq!(
            sample,
            r#"call_seconds_bucket{kind="k",name="f",le="1.0"} 2"#
        );
        let ids =
            r#"{trace_id="00000000000000000000000000000abc",span_id="0000000000000def"} 1.0 "#;
        assert!(exemplar.starts_with(ids), "{exemplar}");
        assert_eq!(
            lines[5],
            r#"call_seconds_bucket{kind="k",name="f",le="+Inf"} 3"#
        );
        assert_eq!(lines[6], r#"call_seconds_count{kind="k",name="f"} 3"#);
        assert_eq!(lines[7], r#"call_seconds_sum{kind="k",name="f"} 8.25"#);
        assert_eq!(lines[8], "# EOF");
    }

    #[test]
    fn a_counter_has_its_exemplar_and_its_sibling_has_none() {
        let jobs = IntCounterVec::new(Opts::new("jobs_total", "Jobs."), &["kind"]).unwrap();
        jobs.with_label_values(&["a"]).inc();
        jobs.with_label_values(&["b"]).inc();
        let exemplars = Exemplars::default();
        let slot = exemplars.counter("jobs_total", &[("kind", "a")]);
        slot.note(1.0, &span(TraceFlags::SAMPLED));
        let text = rendered(vec![Box::new(jobs)], &exemplars);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[2].starts_with(r#"jobs_total{kind="a"} 1.0 # {trace_id="#),
            "{text}"
        );
        assert_eq!(lines[3], r#"jobs_total{kind="b"} 1.0"#);
    }
}
