//! Floating-point numbers.

/// Numbers from here on take the general path.
const LARGE: i64 = 1_000_000_000_000_000;

/// A float that is a decimal number with at most three decimals and not 0, like most numbers that people write. It is
/// recognized and encoded faster than in the general path.
#[derive(Debug)]
pub struct ShortDecimal {
    /// Whether its sign is minus.
    pub is_negative: bool,
    /// The digits before the point.
    pub whole: u64,
    /// The point, and three decimals.
    pub decimals: [u8; 4],
    /// Number of bytes of `decimals` to write.
    pub len: usize,
}

impl ShortDecimal {
    /// The decimal number, if `number` is the float nearest to a multiple of 0.001.
    ///
    /// It has at most 15 digits, and no two decimal numbers of at most 15 digits have the same nearest float. So this one is
    /// the shortest decimal that decodes to `number`.
    #[inline]
    pub fn of(number: f64) -> Option<Self> {
        let scaled = number * 1e3;
        let nearest = (scaled + 0.5_f64.copysign(scaled)) as i64;
        let is_it = nearest as f64 / 1e3 == number && nearest.abs() < LARGE && nearest != 0;
        is_it.then(|| Self::of_thousandths(nearest))
    }

    #[inline]
    fn of_thousandths(number: i64) -> Self {
        let (whole, rest) = (number.unsigned_abs() / 1000, number.unsigned_abs() % 1000);
        let [first, second, third] = [rest / 100, rest / 10 % 10, rest % 10];
        let digit = |digit: u64| b'0' + digit as u8;
        Self {
            is_negative: number < 0,
            whole,
            decimals: [b'.', digit(first), digit(second), digit(third)],
            len: match (second, third) {
                (0, 0) => 2,
                (_, 0) => 3,
                _ => 4,
            },
        }
    }
}

/// Formats any finite float.
///
/// It lies within one cache line. A number is written in pieces and read at once, which takes half as long again across
/// two lines.
#[repr(align(32))]
pub struct FloatBuffer(zmij::Buffer);

impl FloatBuffer {
    /// An empty buffer.
    #[inline]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(zmij::Buffer::new())
    }

    /// The shortest decimal that decodes to the number, which must be finite.
    #[inline]
    pub fn format(&mut self, number: f64) -> &str {
        self.0.format_finite(number)
    }
}

impl std::fmt::Debug for FloatBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FloatBuffer")
    }
}

/// Appends the shortest decimal that decodes to the number, or `null` if it is not finite.
#[inline]
pub(super) fn write(number: f64, out: &mut Vec<u8>) {
    if let Some(short) = ShortDecimal::of(number) {
        if short.is_negative {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(short.whole).as_bytes());
        let end = out.len() + short.len;
        out.extend_from_slice(&short.decimals);
        out.truncate(end);
    } else {
        write_long(number, out);
    }
}

#[inline(never)]
fn write_long(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(FloatBuffer::new().format(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}
