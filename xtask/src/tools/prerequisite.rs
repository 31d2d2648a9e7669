//! The error for a tool that has to be installed first.

use std::fmt;

/// Something that the command needs is not installed. The text contains what was found, what is needed and how to
/// install it.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}
