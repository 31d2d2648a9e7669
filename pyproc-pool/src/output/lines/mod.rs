//! Lines become entries: bytes are split into lines (`splitter.rs`), each line is parsed (`parse.rs`), and lines that
//! belong together are joined (`assembler.rs`).

mod assembler;
mod continuation;
mod entry;
mod json;
mod native;
mod parse;
mod python;
mod severity;
mod splitter;
mod stack_trace;

pub(crate) use assembler::QUIET;
pub(super) use entry::beside;
pub(crate) use entry::{Context, Ids, Stream, beside_the_message};
pub(crate) use severity::Severity;
pub(crate) use splitter::Splitter;

pub(super) use self::{assembler::Assembler, entry::Entry};

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
            Just("TypeError: no".into()),
            Just("    at f (a.js:1:2)".into()),
            Just("panic: no".into()),
            Just("goroutine 1 [running]:".into()),
            Just("thread 'main' panicked at a.rs:1:2:".into()),
            Just("stack backtrace:".into()),
            Just("a.py:1: ResourceWarning: unclosed".into()),
            Just(
                "ResourceWarning: Enable tracemalloc to get the object allocation traceback".into()
            ),
            Just("terminate called after throwing an instance of 'E'".into()),
            Just("  what():  no".into()),
            Just("free(): invalid pointer".into()),
        ]
    }

    proptest! {
        #[test]
        fn no_line_is_lost_however_they_arrive(lines in vec(line(), 0..40), cuts in vec(1..30_usize, 0..200)) {
            let text = lines.join("\n") + "\n";
            let (mut splitter, mut assembler) = (Splitter::default(), Assembler::default());
            let (mut entries, now) = (Vec::new(), Instant::now());
            let mut emit = |entry: Entry, _: Context| {
                entries.extend(entry.exception.unwrap_or(entry.message).lines().map(str::to_owned));
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
            let entries: Vec<_> = entries.iter().filter(not_empty).collect();
            let lines: Vec<_> = lines.iter().filter(not_empty).collect();
            prop_assert_eq!(entries, lines);
        }

        #[test]
        fn a_record_is_kept_together_with_its_traceback_however_many_lines_are_around(
            before in vec("[ a-z]{0,20}", 0..5), after in vec("[a-z]{1,20}", 0..5),
        ) {
            let record = "2026-11-21 12:00:00,123 - shop - ERROR - no";
            let text = [before.join("\n"), record.into(), "Traceback (most recent call last):".into(),
                "  File \"a.py\", line 1".into(), "KeyError".into(), after.join("\n")].join("\n");
            let (mut assembler, mut entries) = (Assembler::default(), Vec::new());
            for line in text.lines() {
                assembler.line(line, Context::default(), Instant::now(), |entry, _| entries.push(entry));
            }
            assembler.flush(|entry, _| entries.push(entry));
            let traced: Vec<_> = entries.iter().filter(|it| it.exception.is_some()).collect();
            prop_assert_eq!(traced.len(), 1);
            prop_assert_eq!(&traced[0].message, "no");
            prop_assert!(traced[0].exception.as_ref().is_some_and(|it| it.ends_with("KeyError")));
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
