//! Finds the characters of a string that need an escape.

/// 1 in each byte.
const ONES: u64 = u64::MAX / 255;

const BLOCK: usize = 64;
const WORD: usize = 8;

/// The number of bytes before the first one that needs an escape: a quote, a backslash or a control character.
#[inline]
pub fn plain(bytes: &[u8]) -> usize {
    // Most strings are short.
    if let Some(word) = bytes.first_chunk::<WORD>() {
        let found = special_in(u64::from_le_bytes(*word));
        if found != 0 {
            return found.trailing_zeros() as usize / 8;
        }
    }
    more_plain(bytes)
}

fn more_plain(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    for _ in 0..BLOCK / WORD {
        let Some((word, after)) = rest.split_first_chunk::<WORD>() else {
            break;
        };
        let found = special_in(u64::from_le_bytes(*word));
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    bytes.len() - rest.len() + long_plain(rest)
}

/// Whether none of a few bytes needs an escape.
#[inline]
pub fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<WORD>() {
        let (words, _) = bytes.as_chunks::<WORD>();
        let all = words.iter().chain([last]);
        return all.fold(0, |found, word| {
            found | special_in(u64::from_le_bytes(*word))
        }) == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let first = u64::from(u32::from_le_bytes(*first));
        let last = u64::from(u32::from_le_bytes(*last));
        return special_in(first | last << 32) == 0;
    }
    bytes.iter().all(|byte| !is_special(*byte))
}

#[inline(never)]
fn long_plain(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // The compiler vectorizes the comparison of a block: reliably of bytes, not of `bool`s.
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        let special = block
            .iter()
            .fold(0, |any, byte| any | u8::from(is_special(*byte)));
        if special != 0 {
            break;
        }
        rest = after;
    }
    let end = rest.iter().position(|byte| is_special(*byte));
    bytes.len() - rest.len() + end.unwrap_or(rest.len())
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Sets the highest bit of each byte that is a quote, a backslash or a control character. Only the lowest set bit is
/// reliable, because of the borrow.
#[inline]
pub(super) fn special_in(word: u64) -> u64 {
    const HIGH: u64 = ONES << 7;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_in(word ^ (ONES * b'"' as u64));
    let backslash = zero_in(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}
