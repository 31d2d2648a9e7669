/// Whether a text is within quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// As in a JSON string: quotes and backslashes are escaped too.
    Json,
    /// Quotes and backslashes stay: they have no meaning in free text, and are escaped already in complete JSON.
    None,
}

/// Whether a character must be escaped: a control character, a line separator of Unicode, or a character with Unicode's
/// property `Bidi_Control`.
pub(crate) fn is_special(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes a text so that it can neither end a line nor control a terminal.
///
/// It escapes all control characters, including those of Unicode's second block, and both Unicode line separators, as
/// some readers treat these as line ends. It also escapes the bidirectional controls, which make a terminal show a line
/// in another order. As JSON the result is the same text.
pub(crate) fn escape(text: &str, quotes: Quotes, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut rest = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if PLAIN[usize::from(*byte)] {
            at += 1;
            continue;
        }
        let (escaped, length) = special(&bytes[at..], quotes);
        if let Some(escaped) = escaped {
            out.extend_from_slice(&bytes[rest..at]);
            escaped.write(out);
            rest = at + length;
        }
        at += length;
    }
    out.extend_from_slice(&bytes[rest..]);
}

/// Bytes that never start a character to be escaped.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain[0x7f] = false;
    // The first bytes of U+0080 to U+00BF, of U+0600 to U+063F, and of U+2000 to U+2FFF.
    plain[0xc2] = false;
    plain[0xd8] = false;
    plain[0xe2] = false;
    plain
};

enum Escaped {
    Short(u8),
    Code(u16),
}

/// The escape of the first character, if it needs one, and its length.
fn special(bytes: &[u8], quotes: Quotes) -> (Option<Escaped>, usize) {
    let short = |letter| (Some(Escaped::Short(letter)), 1);
    match *bytes {
        [quote @ (b'"' | b'\\'), ..] => match quotes {
            Quotes::Json => short(quote),
            Quotes::None => (None, 1),
        },
        [b'\n', ..] => short(b'n'),
        [b'\r', ..] => short(b'r'),
        [b'\t', ..] => short(b't'),
        [0xc2, second @ 0x80..=0x9f, ..] => (Some(Escaped::Code(u16::from(second))), 2),
        [0xd8, 0x9c, ..] => (Some(Escaped::Code(0x061c)), 2),
        // Marks of direction, line separators, embeddings and overrides.
        [0xe2, 0x80, third @ (0x8e | 0x8f | 0xa8..=0xae), ..] => {
            (Some(Escaped::Code(0x2000 + u16::from(third - 0x80))), 3)
        }
        // Isolates.
        [0xe2, 0x81, third @ 0xa6..=0xa9, ..] => {
            (Some(Escaped::Code(0x2040 + u16::from(third - 0x80))), 3)
        }
        [byte @ (..0x20 | 0x7f), ..] => (Some(Escaped::Code(u16::from(byte))), 1),
        _ => (None, 1),
    }
}

impl Escaped {
    fn write(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        match *self {
            Self::Short(letter) => out.extend_from_slice(&[b'\\', letter]),
            Self::Code(code) => {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(DIGITS[usize::from(code >> shift & 0xf)]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str, quotes: Quotes) -> String {
        let mut out = Vec::new();
        escape(text, quotes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_end_a_line_is_escaped() {
        let text = "a\"\\\n\r\t\0\u{1b}\u{7f}\u{85}\u{9b}\u{2028}\u{2029}é…\u{a0}z";
        let expected = r#"\n\r\t\u0000\u001b\u007f\u0085\u009b\u2028\u2029é…"#;
        let json = escaped(text, Quotes::Json);
        assert_eq!(json, format!("a\\\"\\\\{expected}\u{a0}z"));
        assert_eq!(
            escaped(text, Quotes::None),
            format!("a\"\\{expected}\u{a0}z")
        );
    }

    #[test]
    fn what_turns_the_direction_of_a_line_is_escaped() {
        let text = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}";
        let expected = r"\u061c\u200e\u200f\u202a\u202e\u2066\u2069";
        assert_eq!(escaped(text, Quotes::Json), expected);
        assert_eq!(escaped(text, Quotes::None), expected);
        let plain = "שלום עליכם، \u{200b}\u{200d}\u{2027}\u{2065}\u{206a}؛";
        assert_eq!(escaped(plain, Quotes::Json), plain);
    }

    /// Texts of which many characters are special or close to it.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[\\u{0}-\\u{ff}\\u{600}-\\u{63f}\\u{2000}-\\u{2070}]{0,40}",
        ]
    }

    proptest! {
        #[test]
        fn json_means_the_same_text(text in text()) {
            let json = format!("\"{}\"", escaped(&text, Quotes::Json));
            prop_assert!(!json.contains(is_special));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn only_what_is_special_is_escaped_in_free_text(text in text()) {
            let escaped = escaped(&text, Quotes::None);
            prop_assert!(!escaped.contains(is_special));
            if !text.contains(is_special) {
                prop_assert_eq!(escaped, text);
            }
        }
    }
}
