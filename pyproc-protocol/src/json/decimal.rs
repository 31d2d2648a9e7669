//! From decimal fractions of few digits to floats, by one division.

/// Fractions of more decimals are left to the general way.
const MAX_DECIMALS: usize = 7;

/// All integers up to this are exact floats.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

const POWERS_OF_TEN: [f64; MAX_DECIMALS + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/// The number that has `whole` before the point and a few decimals at the start of `json`, and how many these are.
/// `None` if there are none or many, if an exponent follows, or if one division may not give the nearest float: both of
/// its numbers must be exact.
#[inline]
pub(super) fn read_short(whole: u64, json: &[u8]) -> Option<(f64, usize)> {
    if json.first_chunk().is_some_and(are_digits) {
        return None;
    }
    let (mut digits, mut count) = (whole, 0);
    while let Some(digit @ b'0'..=b'9') = json.get(count) {
        digits = digits
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'));
        count += 1;
    }
    if count == 0 || digits > EXACT || matches!(json.get(count), Some(b'e' | b'E')) {
        return None;
    }
    let power = POWERS_OF_TEN.get(count)?;
    Some((digits as f64 / power, count))
}

/// Whether all of these bytes are digits.
#[inline]
fn are_digits(bytes: &[u8; MAX_DECIMALS + 1]) -> bool {
    bytes
        .iter()
        .fold(true, |all, byte| all & byte.is_ascii_digit())
}
