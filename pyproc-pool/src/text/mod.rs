//! Text that comes from outside: how it is bounded, printed and compared. It uses no other room.

mod nearest;
mod printable;

pub(crate) use nearest::nearest;
pub(crate) use printable::Printable;

/// Lines and tracebacks are cut after so many bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

/// What is said of a text that is too long.
pub(crate) const CUT: &str = "... (cut)";

/// Cuts a text after so many bytes, at the end of a character, and says so.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let is_end = |at: &usize| text.is_char_boundary(*at);
        text.truncate((0..=most).rev().find(is_end).unwrap_or(0));
        text.push_str(CUT);
    }
}
