//! Escapes the text of a worker, so that it does no harm where people read it.

use std::fmt::{self, Write};

/// A worker's text within a text of ours. Characters that could control a terminal or change the direction of a line
/// are escaped. Line ends and tabs stay.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match is_harmful(c) {
                true => write!(f, "\\u{:04x}", u32::from(c))?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Whether it is a control, a line separator of Unicode, or has Unicode's property `Bidi_Control`.
fn is_harmful(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_turns_a_line_or_commands_a_terminal_is_escaped() {
        let text = "größe\n\t\u{1b}[2J\r\u{9b}\u{202e}\u{2066}\u{200f}\u{61c}\\שלום";
        let expected = "größe\n\t\\u001b[2J\\u000d\\u009b\\u202e\\u2066\\u200f\\u061c\\שלום";
        assert_eq!(Printable(text).to_string(), expected);
    }

    proptest! {
        #[test]
        fn it_is_escaped_once(text in any::<String>()) {
            let once = Printable(&text).to_string();
            prop_assert!(!once.contains(is_harmful));
            prop_assert_eq!(Printable(&once).to_string(), once);
        }
    }
}
