//! Bounds for texts that come from outside.

/// The beginning of a text: at most `max` bytes, which end between two characters.
pub(crate) fn truncated(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The end of a text: at most `max` bytes, which begin between two characters.
pub(crate) fn ending(text: &str, max: usize) -> &str {
    let mut begin = text.len().saturating_sub(max);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    &text[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(truncated("aüb", 2), "a");
        assert_eq!(truncated("aüb", 9), "aüb");
        assert_eq!(ending("aüb", 2), "b");
        assert_eq!(ending("aüb", 3), "üb");
        assert_eq!((truncated("", 0), ending("", 0)), ("", ""));
    }
}
