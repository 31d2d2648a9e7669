//! Histograms of durations. A call adds whole nanoseconds to plain numbers. Each scrape converts them to the registry's
//! histograms.

use std::time::Duration;

use prometheus::{
    Error, Histogram, HistogramOpts,
    core::{Desc, Describer},
    proto::{Metric, MetricFamily, MetricType},
};

use crate::metrics::model::{histogram, label};

pub(super) const FUNCTION: &str = "function_name";

/// The histograms of all functions under one name.
pub(super) struct TimesFamily {
    desc: Desc,
    bounds: Vec<f64>,
}

impl TimesFamily {
    pub(super) fn new(opts: HistogramOpts) -> Result<Self, Error> {
        // Checks the buckets.
        Histogram::with_opts(opts.clone())?;
        Ok(Self {
            bounds: opts.buckets.clone(),
            desc: opts.variable_label(FUNCTION).describe()?,
        })
    }

    pub(super) fn desc(&self) -> &Desc {
        &self.desc
    }

    /// The histogram of a function without calls.
    pub(super) fn times(&self) -> Times {
        let nanos = |bound: &f64| ((bound * 1e9).round() as u64, 0);
        Times {
            buckets: self.bounds.iter().map(nanos).collect(),
            above: 0,
            sum: 0,
        }
    }

    pub(super) fn metric(&self, function: &str, times: &Times) -> Metric {
        let mut labels = self.desc.const_label_pairs.clone();
        labels.push(label(FUNCTION, function));
        labels.sort_by(|a, b| a.name().cmp(b.name()));
        let mut metric = Metric::from_label(labels);
        let within = times.buckets.iter().map(|(_, count)| *count);
        let counts: Vec<_> = within.chain([times.above]).collect();
        let seconds = times.sum as f64 / 1e9;
        metric.set_histogram(histogram(&self.bounds, &counts, seconds));
        metric
    }

    pub(super) fn collect(&self, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        family
    }
}

/// The histogram of one function.
#[derive(Debug)]
pub(super) struct Times {
    /// The upper bound of each bucket in nanoseconds, and its count.
    buckets: Vec<(u64, u64)>,
    above: u64,
    sum: u128,
}

impl Times {
    pub(super) fn observe(&mut self, time: Duration) {
        let nanos = time.as_nanos();
        self.sum += nanos;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let bucket = self.buckets.iter_mut().find(|(bound, _)| nanos <= *bound);
        *bucket.map_or(&mut self.above, |(_, count)| count) += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_where_the_registrys_own_histogram_has_it() {
        let opts = HistogramOpts::new("a", "b").buckets(vec![1e-8, 0.001, 0.25, 3.0]);
        let family = TimesFamily::new(opts.clone()).unwrap();
        let (mut ours, theirs) = (family.times(), Histogram::with_opts(opts).unwrap());
        let bounds = [10, 1_000_000, 250_000_000, 3_000_000_000];
        let about = bounds
            .iter()
            .flat_map(|bound| [bound - 1, *bound, bound + 1]);
        for time in about.chain([0, 1 << 62]).map(Duration::from_nanos) {
            ours.observe(time);
            theirs.observe(time.as_secs_f64());
        }
        let ours = family.metric("f", &ours);
        let theirs = prometheus::core::Metric::metric(&theirs);
        let (ours, theirs) = (ours.get_histogram(), theirs.get_histogram());
        assert_eq!(ours.get_sample_count(), theirs.get_sample_count());
        assert!((ours.get_sample_sum() / theirs.get_sample_sum() - 1.0).abs() < 1e-12);
        let buckets = ours.get_bucket().iter().zip(theirs.get_bucket());
        for (ours, theirs) in buckets {
            assert_eq!(ours.upper_bound(), theirs.upper_bound());
            assert_eq!(ours.cumulative_count(), theirs.cumulative_count());
        }
    }
}
