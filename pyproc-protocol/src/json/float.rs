//! Floating-point numbers.

/// Numbers from here on are left to the general way.
const LARGE: i64 = 1_000_000_000_000_000;

/// Appends a number as the shortest decimal that means it, or `null` if it is not finite.
#[inline]
pub(super) fn write(number: f64, out: &mut Vec<u8>) {
    if let Some(thousandths) = thousandths(number) {
        write_thousandths(thousandths, out);
    } else if number.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// How many thousandths the number is, if it is the float nearest to so many, and not 0.
///
/// They have at most 15 digits, and no two decimals of at most 15 digits have the same nearest
/// float: so this one is the shortest that means the number.
#[inline]
fn thousandths(number: f64) -> Option<i64> {
    let scaled = number * 1e3;
    let nearest = (scaled + 0.5_f64.copysign(scaled)) as i64;
    let is_it = nearest as f64 / 1e3 == number && nearest.abs() < LARGE && nearest != 0;
    is_it.then_some(nearest)
}

#[inline]
fn write_thousandths(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    let (whole, rest) = (number.unsigned_abs() / 1000, number.unsigned_abs() % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    let [tenths, hundredths, thousandths] = [rest / 100, rest / 10 % 10, rest % 10];
    let digit = |digit: u64| b'0' + digit as u8;
    let len = match (hundredths, thousandths) {
        (0, 0) => 2,
        (_, 0) => 3,
        _ => 4,
    };
    let decimals = [b'.', digit(tenths), digit(hundredths), digit(thousandths)];
    let end = out.len() + len;
    out.extend_from_slice(&decimals);
    out.truncate(end);
}
