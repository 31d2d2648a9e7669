//! From decimal fractions to floats.

/// A number without its sign: all digits, and how many of them follow the point.
pub(super) struct Decimal {
    pub(super) all: u64,
    pub(super) decimals: usize,
}

impl Decimal {
    /// The value, if one division rounds it correctly: both operands must be exact floats.
    #[inline]
    pub(super) fn exact(&self) -> Option<f64> {
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let power = POWERS_OF_TEN.get(self.decimals)?;
        (self.all <= EXACT).then(|| self.all as f64 / power)
    }
}

/// All of these are exact. Numbers with more decimals have too many digits for one division.
const POWERS_OF_TEN: [f64; 18] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17,
];
