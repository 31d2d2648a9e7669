use super::{
    escape::{Quotes, escape, is_special},
    value::Value,
};

/// How fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Json,
    Text { color: bool },
}

impl Style {
    /// Writes a field's name, with separators.
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
        match (value, self) {
            (Value::Text(text), Self::Json) => write_quoted(text, out),
            (Value::Json(json), Self::Json) => out.extend_from_slice(json.as_bytes()),
            (Value::Text(text) | Value::Json(text), Self::Text { .. }) => write_word(text, out),
            (Value::Signed(number), _) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            (Value::Unsigned(number), _) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            (Value::Float(number), _) => write_float(number, out),
            (Value::Bool(value), _) => {
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
        }
    }

    /// Writes the message, without quotes.
    pub(crate) fn message(self, value: Value<'_>, out: &mut Vec<u8>) {
        let quotes = match self {
            Self::Json => Quotes::Json,
            Self::Text { .. } => Quotes::None,
        };
        escape(&value.to_text(), quotes, out);
    }
}

pub(crate) fn write_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, Quotes::Json, out);
    out.push(b'"');
}

/// The shortest digits that read back as the same number.
fn write_float(number: f64, out: &mut Vec<u8>) {
    // Writing a number into memory cannot fail.
    let _ = serde_json::to_writer(out, &number);
}

/// Quotes a word only where its end would not be clear.
fn write_word(text: &str, out: &mut Vec<u8>) {
    let unclear = |c: char| c.is_whitespace() || is_special(c) || matches!(c, '"' | '=' | '\\');
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
            ("a\u{202e}b", " key=\"a\\u202eb\""),
        ] {
            let mut out = Vec::new();
            style.key("key", &mut out);
            style.value(Value::Text(text), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
