//! The text formats of `/metrics`, and which of them a client prefers.

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, which can have exemplars.
    OpenMetrics,
}

impl MetricsFormat {
    /// The format that a client prefers by its header `Accept`. The default is text.
    pub fn accepted(accept: Option<&str>) -> Self {
        let weight = |name: &str| {
            accept
                .unwrap_or_default()
                .split(',')
                .filter_map(|range| weight_of(range, name))
                .fold(0.0, f64::max)
        };
        let (text, open) = (weight("text/plain"), weight("application/openmetrics-text"));
        match open > 0.0 && open >= text {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

fn weight_of(range: &str, name: &str) -> Option<f64> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q="));
    Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_format_is_chosen() {
        use MetricsFormat::{OpenMetrics, Text};
        // What Prometheus 2 and 3 send, among others.
        let prometheus2 = "application/openmetrics-text;version=1.0.0;q=0.8,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (None, Text),
            (Some("*/*"), Text),
            (Some("text/html, text/plain"), Text),
            (Some(prometheus2), OpenMetrics),
            (Some("Application/OpenMetrics-Text"), OpenMetrics),
            (
                Some("application/openmetrics-text; q=0.1, text/plain; q=0.2"),
                Text,
            ),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;q=x"), Text),
        ] {
            assert_eq!(MetricsFormat::accepted(accept), format, "{accept:?}");
        }
    }
}
