use super::{Quotes, Value, escape};

/// How fields look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Json,
    Text { color: bool },
}

impl Style {
    /// Writes a field's name and what stands around it.
    pub(crate) fn key(self, name: &str, out: &mut Vec<u8>) {
        match self {
            Self::Json => {
                out.extend_from_slice(b",\"");
                escape(name, Quotes::Json, out);
                out.extend_from_slice(b"\":");
            }
            Self::Text { color } => {
                out.push(b' ');
                let italic: (&[u8], &[u8]) = if color {
                    (b"\x1b[3m", b"\x1b[0m")
                } else {
                    (b"", b"")
                };
                out.extend_from_slice(italic.0);
                write_word(name, out);
                out.extend_from_slice(italic.1);
                out.push(b'=');
            }
        }
    }

    pub(crate) fn value(self, value: Value<'_>, out: &mut Vec<u8>) {
        let Err(text) = value.write_plain(out) else {
            return;
        };
        match self {
            Self::Json => write_quoted(text, out),
            Self::Text { .. } => write_word(text, out),
        }
    }

    /// Writes the message, without what stands around it.
    pub(crate) fn message(self, value: Value<'_>, out: &mut Vec<u8>) {
        let quotes = match self {
            Self::Json => Quotes::Json,
            Self::Text { .. } => Quotes::None,
        };
        escape(&value.to_text(), quotes, out);
    }
}

fn write_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, Quotes::Json, out);
    out.push(b'"');
}

/// With quotes only where the end of the word would not be clear.
fn write_word(text: &str, out: &mut Vec<u8>) {
    let unclear = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\');
    if text.is_empty() || text.contains(unclear) {
        write_quoted(text, out);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_its_end_would_not_be_clear() {
        let style = Style::Text { color: false };
        for (text, expected) in [
            ("plain", " key=plain"),
            ("", " key=\"\""),
            ("two words", " key=\"two words\""),
            ("a=b", " key=\"a=b\""),
            ("line\nbreak", " key=\"line\\nbreak\""),
            ("\u{2028}", " key=\"\\u2028\""),
        ] {
            let mut out = Vec::new();
            style.key("key", &mut out);
            style.value(Value::Text(text), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
