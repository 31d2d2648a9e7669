//! Text that comes from outside: how it is bounded, printed and compared. It uses no other room.

mod nearest;
mod printable;

pub(crate) use nearest::nearest;
pub(crate) use printable::Printable;

/// The longest line or traceback in bytes; longer ones are cut.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Ends a text that was cut.
pub(crate) const CUT: &str = "... (cut)";

/// Cuts a text after `most` bytes, at the end of a character, and marks it.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let is_end = |at: &usize| text.is_char_boundary(*at);
        text.truncate((0..=most).rev().find(is_end).unwrap_or(0));
        text.push_str(CUT);
    }
}
