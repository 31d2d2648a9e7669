use std::{borrow::Cow, fmt, sync::Arc};

use super::value::Value;

/// Replaces a secret value.
pub(crate) const REDACTED: &str = "[redacted]";

/// The end of a value that was cut.
pub(crate) const CUT: &str = "…[cut]";

pub(crate) type Predicate = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The rules for values: redaction and the maximum length.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) max_value_bytes: usize,
    pub(crate) names: Vec<String>,
    pub(crate) predicate: Option<Predicate>,
}

impl Rules {
    /// Whether any value may be redacted.
    pub(crate) fn any(&self) -> bool {
        !self.names.is_empty() || self.predicate.is_some()
    }

    pub(crate) fn shown<'a>(&self, name: &str, value: Value<'a>) -> Value<'a> {
        if self.any() && self.hides(name, || value.to_text()) {
            Value::Text(REDACTED)
        } else {
            value
        }
    }

    pub(crate) fn hides<'a>(&self, name: &str, text: impl FnOnce() -> Cow<'a, str>) -> bool {
        let named = |known: &String| known.eq_ignore_ascii_case(name);
        self.names.iter().any(named)
            || self
                .predicate
                .as_ref()
                .is_some_and(|hides| hides(name, &text()))
    }

    /// A text, or its beginning and a mark if it is too long.
    pub(crate) fn cut<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.head(text) {
            None => text.into(),
            Some(head) => format!("{head}{CUT}").into(),
        }
    }

    /// The beginning of a text, if it is too long, at the end of a character.
    pub(crate) fn head<'a>(&self, text: &'a str) -> Option<&'a str> {
        (text.len() > self.max_value_bytes).then(|| {
            let end = floor_char_boundary(text, self.max_value_bytes);
            text.get(..end).unwrap_or_default()
        })
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("max_value_bytes", &self.max_value_bytes)
            .field("names", &self.names)
            .field("predicate", &self.predicate.is_some())
            .finish()
    }
}

/// The last place at or before `index` where a character ends.
pub(crate) fn floor_char_boundary(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
