//! Splits bytes into lines as they arrive. Of a line that is overwritten, as progress bars do, the last state counts.

use crate::text::{CUT, LONGEST};

/// Holds the incomplete line.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    partial: Vec<u8>,
    /// The rest of this line is skipped, because the line is too long.
    skipping: bool,
}

impl Splitter {
    /// Calls `line` with each line that `bytes` complete, without its end.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (piece, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.skipping {
                self.skipping = false;
            } else if self.partial.is_empty() && piece.len() <= LONGEST {
                emit(piece, "", &mut line);
            } else if self.keep(piece) {
                emit(&self.partial, "", &mut line);
            } else {
                emit(&self.partial, CUT, &mut line);
            }
            self.partial.clear();
        }
        if !self.skipping && !self.keep(rest) {
            emit(&self.partial, CUT, &mut line);
            self.partial.clear();
            self.skipping = true;
        }
        self.partial.shrink_to(LONGEST);
    }

    /// Whether an incomplete line is held.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Whether that line is overwritten again and again, so that only its last state matters.
    pub(crate) fn is_refreshed(&self) -> bool {
        self.partial.contains(&b'\r')
    }

    /// Whether bytes are skipped until the end of the line.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Emits the incomplete line as a line of its own.
    pub(crate) fn flush(&mut self, mut line: impl FnMut(&str)) {
        if self.has_partial() {
            emit(&self.partial, "", &mut line);
            self.partial.clear();
        }
    }

    /// Returns `false` if the line became too long.
    fn keep(&mut self, mut piece: &[u8]) -> bool {
        let text = without_returns(piece);
        if text.is_empty() && self.partial.ends_with(b"\r") {
            return true;
        }
        if let Some(start) = memchr::memrchr(b'\r', text) {
            self.partial.clear();
            piece = &piece[start..];
        } else if self.partial.ends_with(b"\r") {
            self.partial.clear();
            self.partial.push(b'\r');
        }
        let room = LONGEST - self.partial.len();
        self.partial
            .extend_from_slice(&piece[..piece.len().min(room)]);
        piece.len() <= room
    }
}

fn without_returns(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != b'\r');
    &bytes[..end.map_or(0, |last| last + 1)]
}

fn emit(bytes: &[u8], suffix: &str, line: &mut impl FnMut(&str)) {
    let bytes = without_returns(bytes);
    let start = memchr::memrchr(b'\r', bytes).map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&bytes[start..]);
    match suffix {
        "" => line(&text),
        suffix => line(&format!("{text}{suffix}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        for piece in pieces {
            splitter.feed(piece, |line| lines.push(line.to_owned()));
        }
        splitter.flush(|line| lines.push(line.to_owned()));
        assert!(!splitter.has_partial());
        lines
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = b"one\r\n\ntwo \xff\nthree";
        let expected = ["one", "", "two \u{fffd}", "three"];
        assert_eq!(lines(&[text]), expected);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&bytes), expected);
        for middle in 0..text.len() {
            assert_eq!(lines(&[&text[..middle], &text[middle..]]), expected);
        }
    }

    #[test]
    fn refreshes_of_a_progress_bar_are_one_line_with_the_last_of_them() {
        let text = b"before\n\r 0%\r 50%\r100%\nafter\n 0%\r 50%\r\r\r\n\r bar\r     \r\n";
        let expected = ["before", "100%", "after", " 50%", "     "];
        assert_eq!(lines(&[text]), expected);
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(lines(&pieces), expected, "{size}");
        }
    }

    #[test]
    fn a_progress_bar_takes_no_more_room_than_its_last_state() {
        let mut splitter = Splitter::default();
        for percent in 0..1_000_000 {
            for piece in ["\r", "\r\r", &format!("{percent} done"), "\r"] {
                splitter.feed(piece.as_bytes(), |line| panic!("{line}"));
            }
            assert!(splitter.partial.len() < 20 && !splitter.is_skipping());
        }
        assert!(splitter.is_refreshed());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_is_whole() {
        let longest = vec![b'x'; LONGEST];
        let whole = String::from_utf8(longest.clone()).unwrap();
        assert_eq!(lines(&[&longest, b"\nnext\n"]), [whole.as_str(), "next"]);
        let cut = format!("{whole}{CUT}");
        let expected = [cut.as_str(), "next"];
        assert_eq!(lines(&[&longest, b"y\nnext\n"]), expected);
        assert_eq!(lines(&[&longest, b"y", &longest, b"\nnext\n"]), expected);
        let long = [&longest[..], b"yyy\nnext\n"].concat();
        assert_eq!(lines(&[&long]), expected);
    }
}
