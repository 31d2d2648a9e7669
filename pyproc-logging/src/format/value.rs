use std::borrow::Cow;

/// A field's value, in the types that a line distinguishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// JSON that follows the rules of a line.
    Json(&'a str),
    Signed(i64),
    Unsigned(u64),
    /// Finite.
    Float(f64),
    Bool(bool),
}

impl<'a> Value<'a> {
    pub(crate) fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) | Self::Json(text) => text.into(),
            Self::Signed(number) => number.to_string().into(),
            Self::Unsigned(number) => number.to_string().into(),
            Self::Float(number) => number.to_string().into(),
            Self::Bool(value) => value.to_string().into(),
        }
    }
}
