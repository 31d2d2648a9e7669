//! What the lines of one layer have in common.

use std::sync::Arc;

use super::{fields::Entry, redact::Rules, style::Style, value::Value};
use crate::LoggingConfig;

/// How the lines of one layer look.
#[derive(Debug, Clone)]
pub(crate) struct LineFormat {
    pub(crate) style: Style,
    /// Whether JSON lines name the target.
    pub(crate) target: bool,
    pub(crate) rules: Rules,
    /// The fields of every line.
    pub(crate) fields: Arc<[Entry]>,
}

/// The keys that JSON lines give a meaning.
const RESERVED: &[&str] = &["time", "level", "msg", "trace_id", "span_id", "trace_flags"];
const RESERVED_WITH_TARGET: &[&str] = &[
    "time",
    "level",
    "msg",
    "trace_id",
    "span_id",
    "trace_flags",
    "target",
];

impl LineFormat {
    pub(crate) fn new(style: Style, config: &LoggingConfig, rules: Rules) -> Self {
        let fields = config.fields.iter().map(|(name, value)| {
            // It lives as long as the log, which is as long as the program.
            let name: &'static str = name.clone().leak();
            let value = rules.cut(value);
            Entry::of_every_line(name.into(), rules.shown(name, Value::Text(&value)), style)
        });
        Self {
            style,
            target: config.target && style == Style::Json,
            fields: fields.collect(),
            rules,
        }
    }

    pub(super) fn reserved(&self) -> &'static [&'static str] {
        if self.target {
            RESERVED_WITH_TARGET
        } else {
            RESERVED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::forwarded::PLACE;

    #[test]
    fn no_field_of_every_line_has_a_key_with_a_meaning() {
        for key in RESERVED.iter().chain(RESERVED_WITH_TARGET).chain(PLACE) {
            assert!(pyproc_fields::check_name(key).is_err(), "{key}");
        }
    }
}
