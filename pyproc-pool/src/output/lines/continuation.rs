//! Which lines belong to the one before them, other than stack traces.

use super::{Entry, entry::append};

/// What may follow a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuation {
    /// The line of the source that Python's `warnings` name,
    Source,
    /// and of a `ResourceWarning` where the resource came from.
    Allocation,
    /// C++: the text of the exception that was not caught.
    What,
    /// glog: the stack, after its title.
    Stack,
}

const STACK: &str = "*** Check failure stack trace: ***";

impl Continuation {
    /// Adds the line to the entry if it belongs to it.
    pub(super) fn take(&mut self, line: &str, entry: &mut Entry) -> bool {
        let is_more = match self {
            Self::Source => is_source(line) || is_of_resource(line),
            Self::Allocation => is_of_resource(line) || line.starts_with("  "),
            Self::What => line.starts_with("  what():  "),
            Self::Stack => line == STACK || line.starts_with("    @ "),
        };
        if !is_more {
            return false;
        }
        if *self == Self::Source {
            *self = Self::Allocation;
        }
        match self {
            Self::Stack => append(entry.exception.get_or_insert_default(), line),
            _ => entry.append(line),
        }
        true
    }
}

/// Python shows it without its own indentation.
fn is_source(line: &str) -> bool {
    line.strip_prefix("  ")
        .is_some_and(|source| !source.starts_with([' ', '\t']) && !source.is_empty())
}

fn is_of_resource(line: &str) -> bool {
    line.starts_with("ResourceWarning: Enable tracemalloc ")
        || line == "Object allocated at (most recent call last):"
}
