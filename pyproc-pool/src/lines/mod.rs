//! What a worker prints, line by line: from bytes to events.

mod assembler;
mod entry;
mod event;
mod rate;
mod splitter;
mod structured;
mod transcript;

pub(crate) use assembler::QUIET;
pub(crate) use entry::{Context, Stream, beside_the_message};
pub(crate) use event::as_text;
pub(crate) use rate::{Rate, Tally};
pub(crate) use splitter::Splitter;
pub(crate) use structured::Severity;
pub(crate) use transcript::Transcript;

use self::{assembler::Assembler, entry::Entry};

/// Lines and tracebacks are cut after so many bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Lines of which some begin or continue tracebacks.
    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ a-z]{0,20}",
            Just("Traceback (most recent call last):".into()),
            Just("  File \"a.py\", line 1".into()),
            Just("ValueError: no".into()),
            Just(String::new()),
            Just("During handling of the above exception, another exception occurred:".into()),
        ]
    }

    proptest! {
        #[test]
        fn no_line_is_lost_however_they_arrive(lines in vec(line(), 0..40), cuts in vec(1..30_usize, 0..200)) {
            let text = lines.join("\n") + "\n";
            let (mut splitter, mut assembler) = (Splitter::default(), Assembler::default());
            let (mut said, now) = (Vec::new(), Instant::now());
            let mut emit = |entry: Entry, _: Context| {
                said.extend(entry.exception.unwrap_or(entry.message).lines().map(str::to_owned));
            };
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let cut = cuts.next().unwrap_or(rest.len()).min(rest.len());
                let (piece, after) = rest.split_at(cut);
                rest = after;
                splitter.feed(piece, |line| assembler.line(line, Context::default(), now, &mut emit));
            }
            assembler.flush(&mut emit);
            let not_empty = |line: &&String| !line.trim().is_empty();
            let said: Vec<_> = said.iter().filter(not_empty).collect();
            let lines: Vec<_> = lines.iter().filter(not_empty).collect();
            prop_assert_eq!(said, lines);
        }

        #[test]
        fn whatever_bytes_arrive_are_taken(pieces in vec(vec(any::<u8>(), 0..100), 0..20)) {
            let (mut splitter, mut assembler, now) = (Splitter::default(), Assembler::default(), Instant::now());
            for piece in pieces {
                splitter.feed(&piece, |line| assembler.line(line, Context::default(), now, |_, _| {}));
            }
            splitter.flush(|line| assembler.line(line, Context::default(), now, |_, _| {}));
            assembler.flush(|_, _| {});
            prop_assert!(!splitter.has_partial() && assembler.deadline().is_none());
        }
    }
}
