use std::borrow::Cow;

/// What a field holds, in the types that a line can tell apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Signed(i64),
    Unsigned(u64),
    /// Finite.
    Float(f64),
    Bool(bool),
}

impl<'a> Value<'a> {
    pub(crate) fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Signed(number) => number.to_string().into(),
            Self::Unsigned(number) => number.to_string().into(),
            Self::Float(number) => number.to_string().into(),
            Self::Bool(value) => value.to_string().into(),
        }
    }

    /// Writes what is not a text; the text otherwise comes back.
    pub(crate) fn write_plain(self, out: &mut Vec<u8>) -> Result<(), &'a str> {
        match self {
            Self::Text(text) => return Err(text),
            Self::Signed(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes())
            }
            Self::Unsigned(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes())
            }
            Self::Float(number) => write_float(number, out),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
        }
        Ok(())
    }
}

/// The shortest digits that read back as the same number.
fn write_float(number: f64, out: &mut Vec<u8>) {
    // Writing a number into memory cannot fail.
    let _ = serde_json::to_writer(out, &number);
}
