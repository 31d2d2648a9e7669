//! How long calls took.

use std::time::Duration;

/// In nanoseconds, in any order.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Takes one call down. Over four seconds count as four.
    pub fn add(&mut self, latency: Duration) {
        self.0
            .push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Takes over those of another caller.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.0.len()
    }

    /// For each of `quantiles` (0 to 1) the latency in µs that this share of the calls did not exceed.
    pub fn quantiles_us<const N: usize>(mut self, quantiles: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        quantiles.map(|quantile| {
            let place = (last as f64 * quantile).round() as usize;
            f64::from(self.0.get(place).copied().unwrap_or_default()) / 1000.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_latencies() {
        let mut latencies = Latencies::default();
        for us in (1..=1001).rev() {
            latencies.add(Duration::from_micros(us));
        }
        let quantiles = latencies.quantiles_us([0.0, 0.5, 0.99, 0.999, 1.0]);
        assert_eq!(quantiles, [1.0, 501.0, 991.0, 1000.0, 1001.0]);
    }

    #[test]
    fn no_calls_have_no_latency() {
        assert_eq!(Latencies::default().quantiles_us([0.5]), [0.0]);
    }
}
