//! Parses a line by the known formats, one after another.

use super::{Entry, continuation::Continuation, json, native, python};

/// A parsed line.
pub(super) enum ParsedLine {
    Complete(Entry),
    /// A stack trace may follow that belongs to it.
    Record(Entry),
    /// Other lines may follow that belong to it.
    Begun(Entry, Continuation),
    Plain,
}

impl ParsedLine {
    /// Parses JSON as logging libraries write it, a usual format of Python's or of native libraries, or plain text.
    pub(super) fn parse(line: &str, foreign: bool) -> Self {
        if let Some(entry) = json::parse(line, foreign) {
            return Self::Complete(entry);
        }
        if let Some(record) = python::parse(line) {
            return Self::Record(record);
        }
        if let Some(warning) = python::parse_warning(line) {
            return Self::Begun(warning, Continuation::Source);
        }
        match native::parse(line) {
            Some((entry, Some(continuation))) => Self::Begun(entry, continuation),
            Some((entry, None)) => Self::Complete(entry),
            None => Self::Plain,
        }
    }
}
