//! Decimal fractions as floats.

/// A number without a sign: all its digits, and how many of them are behind the point.
pub(super) struct Decimal {
    pub(super) all: u64,
    pub(super) decimals: usize,
}

impl Decimal {
    /// The value, if one division gives it exactly rounded: both numbers are exact floats then.
    #[inline]
    pub(super) fn exact(&self) -> Option<f64> {
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let power = POWERS_OF_TEN.get(self.decimals)?;
        (self.all <= EXACT).then(|| self.all as f64 / power)
    }
}

/// Numbers of more decimals have too many digits for one division. All of these are exact.
const POWERS_OF_TEN: [f64; 18] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17,
];
