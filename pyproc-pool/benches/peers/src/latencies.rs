//! The latencies of calls.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A longer latency counts as this one.
const LONGEST: Duration = Duration::from_secs(60);

/// A histogram of latencies, exact to a thousandth.
#[derive(Debug)]
pub struct Latencies(Histogram<u32>);

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    fn default() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        Self(Histogram::new_with_bounds(1, longest, 3).expect("valid bounds"))
    }
}

impl Latencies {
    /// Records one call.
    pub fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Adds the latencies of another caller.
    #[expect(clippy::expect_used, reason = "all have the same bounds")]
    pub fn append(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// Number of calls.
    pub fn calls(&self) -> usize {
        self.0.len() as usize
    }

    /// For each of `quantiles` (0 to 1) the latency in µs that this share of the calls did not exceed.
    pub fn quantiles_us<const N: usize>(&self, quantiles: [f64; N]) -> [f64; N] {
        quantiles.map(|quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_thousandth() {
        let (mut odd, mut even) = (Latencies::default(), Latencies::default());
        for us in (1..=1001).rev() {
            let latencies = if us % 2 == 1 { &mut odd } else { &mut even };
            latencies.add(Duration::from_micros(us));
        }
        odd.append(&even);
        assert_eq!(odd.calls(), 1001);
        let quantiles = odd.quantiles_us([0.0, 0.5, 0.99, 0.999, 1.0]);
        let expected = [1.0, 501.0, 991.0, 1000.0, 1001.0];
        for (quantile, expected) in quantiles.into_iter().zip(expected) {
            assert!((quantile / expected - 1.0).abs() <= 1e-3, "{quantiles:?}");
        }
    }

    #[test]
    fn no_calls_have_no_latency() {
        assert_eq!(Latencies::default().quantiles_us([0.5]), [0.0]);
    }
}
