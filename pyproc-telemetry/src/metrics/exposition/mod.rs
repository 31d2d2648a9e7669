//! A registry as text. It is written series by series, so that the bytes are bounded: each bucket of a histogram
//! repeats the labels of its series. What must stay true: a series is written completely or not at all, and omitted
//! series are counted.

use std::io::{self, Write};

use prometheus::{
    Encoder, Error, IntGauge, Registry, TextEncoder,
    core::Collector,
    proto::{Metric, MetricFamily, MetricType},
};

use super::Exemplars;
use crate::export::log_limit::LogLimit;

mod format;
pub(super) mod openmetrics;

pub use format::MetricsFormat;

/// The default limit for the bytes of one exposition.
pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The gauge of omitted series. It exists only if there are some.
pub(in crate::metrics) const OMITTED: &str = "pyproc_metrics_omitted_series";

/// Bytes that are reserved for `OMITTED` and the last line of OpenMetrics.
const RESERVE: usize = 512;

/// One registry in one format.
#[derive(Clone)]
pub(crate) struct Exposition {
    pub(crate) registry: Registry,
    pub(crate) exemplars: Exemplars,
    pub(crate) format: MetricsFormat,
    /// Series that would exceed it are left out, counted in `OMITTED` and logged.
    pub(crate) max_bytes: usize,
}

/// A writer with a limit.
struct Bounded<'a, W> {
    out: &'a mut W,
    format: MetricsFormat,
    /// The bytes that may still be written.
    room: usize,
    /// The text of one series.
    text: Vec<u8>,
}

/// The metrics of a registry as text, up to 64 MiB: series beyond that are left out and counted in a gauge
/// `pyproc_metrics_omitted_series`. Only OpenMetrics has exemplars.
///
/// # Errors
///
/// A collector in the registry gave a metric without a name.
///
/// ```
/// use prometheus::{IntCounter, Registry};
/// use pyproc_telemetry::{Exemplars, MetricsFormat, render_metrics};
///
/// let registry = Registry::new();
/// let jobs = IntCounter::new("jobs_total", "Jobs done.")?;
/// registry.register(Box::new(jobs.clone()))?;
/// jobs.inc();
/// let text = render_metrics(&registry, &Exemplars::default(), MetricsFormat::OpenMetrics)?;
/// assert_eq!(text, "# TYPE jobs counter\n# HELP jobs Jobs done.\njobs_total 1.0\n# EOF\n");
/// # Ok::<(), prometheus::Error>(())
/// ```
pub fn render_metrics(
    registry: &Registry,
    exemplars: &Exemplars,
    format: MetricsFormat,
) -> Result<String, prometheus::Error> {
    let exposition = Exposition {
        registry: registry.clone(),
        exemplars: exemplars.clone(),
        format,
        max_bytes: MAX_BYTES,
    };
    exposition.into_text()
}

impl Exposition {
    /// Writes the current values of all metrics.
    ///
    /// # Errors
    ///
    /// An error of the writer, or a metric without a name.
    pub(crate) fn write_to(&self, out: &mut impl Write) -> Result<(), Error> {
        let mut bounded = Bounded {
            out,
            format: self.format,
            room: self.max_bytes.saturating_sub(RESERVE),
            text: Vec::new(),
        };
        let mut omitted = 0;
        for family in self.registry.gather() {
            omitted += bounded.family(family, &self.exemplars)?;
        }
        if omitted > 0 {
            bounded.room = RESERVE;
            for family in self.omitted(omitted)? {
                bounded.family(family, &self.exemplars)?;
            }
        }
        if self.format == MetricsFormat::OpenMetrics {
            out.write_all(openmetrics::END)?;
        }
        Ok(())
    }

    fn into_text(self) -> Result<String, Error> {
        let mut text = Vec::new();
        self.write_to(&mut text)?;
        String::from_utf8(text).map_err(|error| io::Error::other(error).into())
    }

    fn omitted(&self, series: usize) -> Result<Vec<MetricFamily>, Error> {
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(times) = LIMIT.record_event() {
            let max_bytes = self.max_bytes;
            tracing::warn!(
                series,
                max_bytes,
                times,
                "series were left out of the metrics, which would be too large"
            );
        }
        let help = "Series that were left out here, as the metrics would be too large.";
        let gauge = IntGauge::new(OMITTED, help)?;
        gauge.set(i64::try_from(series).unwrap_or(i64::MAX));
        Ok(gauge.collect())
    }
}

impl<W: Write> Bounded<'_, W> {
    /// Writes the series of a family up to the first that does not fit. Returns the number of omitted series.
    fn family(&mut self, mut family: MetricFamily, exemplars: &Exemplars) -> Result<usize, Error> {
        // The crate makes no untyped metrics, and its text encoder would panic.
        if family.get_field_type() == MetricType::UNTYPED {
            return Ok(0);
        }
        let mut series = family.take_metric().into_iter();
        let mut is_first = true;
        while let Some(metric) = series.next() {
            self.text.clear();
            match self.format {
                MetricsFormat::Text => text_series(&mut family, metric, is_first, &mut self.text)?,
                MetricsFormat::OpenMetrics => {
                    openmetrics::series(&family, &metric, is_first, exemplars, &mut self.text)?;
                }
            }
            if self.text.len() > self.room {
                return Ok(1 + series.len());
            }
            self.room -= self.text.len();
            self.out.write_all(&self.text)?;
            is_first = false;
        }
        Ok(0)
    }
}

/// Appends one series in Prometheus' text format, below the family's header if it is the first. `family` is without its
/// series.
fn text_series(
    family: &mut MetricFamily,
    metric: Metric,
    is_first: bool,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    family.set_metric(vec![metric]);
    let begin = out.len();
    TextEncoder::new().encode(std::slice::from_ref(family), out)?;
    if !is_first {
        let header_lines = 1 + usize::from(!family.help().is_empty());
        let ends = (begin..out.len()).filter(|it| out[*it] == b'\n');
        let header_end = ends.map(|end| end + 1).nth(header_lines - 1);
        out.drain(begin..header_end.unwrap_or(begin));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const FORMATS: [MetricsFormat; 2] = [MetricsFormat::Text, MetricsFormat::OpenMetrics];

    fn rendered(registry: &Registry, format: MetricsFormat, max_bytes: usize) -> String {
        let exposition = Exposition {
            registry: registry.clone(),
            exemplars: Exemplars::default(),
            format,
            max_bytes,
        };
        exposition.into_text().unwrap()
    }

    /// A counter and a histogram of each family, with series of these labels.
    fn registry(families: &[(String, Vec<String>)]) -> Registry {
        let registry = Registry::new();
        for (number, (help, labels)) in families.iter().enumerate() {
            let help = format!("Help: {help}");
            let opts = Opts::new(format!("jobs_{number}_total"), &help);
            let jobs = IntCounterVec::new(opts, &["kind"]).unwrap();
            let opts = HistogramOpts::new(format!("took_{number}"), help);
            let took = HistogramVec::new(opts, &["kind"]).unwrap();
            for label in labels {
                jobs.with_label_values(&[label]).inc();
                took.with_label_values(&[label]).observe(0.5);
            }
            registry.register(Box::new(jobs)).unwrap();
            registry.register(Box::new(took)).unwrap();
        }
        registry
    }

    fn series(text: &str) -> usize {
        let lines = text.lines();
        lines
            .filter(|it| it.starts_with("jobs_") || it.contains("_count{"))
            .count()
    }

    proptest! {
        #[test]
        fn text_is_that_of_the_registrys_own_encoder(families in vec((".{0,9}", vec(".{0,9}", 0..5)), 0..4)) {
            let registry = registry(&families);
            let expected = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            prop_assert_eq!(rendered(&registry, MetricsFormat::Text, MAX_BYTES), expected);
        }

        #[test]
        fn what_is_over_the_limit_is_left_out_in_whole_series_and_counted(
            families in vec((".{0,9}", vec(".{0,40}", 0..9)), 1..4),
            max_bytes in RESERVE..20_000,
        ) {
            let registry = registry(&families);
            for format in FORMATS {
                let (all, text) = (
                    rendered(&registry, format, MAX_BYTES),
                    rendered(&registry, format, max_bytes),
                );
                prop_assert!(text.len() <= max_bytes);
                prop_assert_eq!(all.ends_with("# EOF\n"), text.ends_with("# EOF\n"));
                let omitted = text.lines().find_map(|it| it.strip_prefix("pyproc_metrics_omitted_series "));
                let omitted = omitted.map_or(0.0, |it| it.parse::<f64>().unwrap());
                prop_assert_eq!(series(&text) + omitted as usize, series(&all));
                let known = |line: &str| all.lines().any(|it| it == line) || line.contains(OMITTED);
                prop_assert!(text.lines().all(known), "{}", text);
            }
        }
    }
}
