//! What the lines of one layer have in common.

use std::sync::Arc;

use pyproc_fields::LINE_KEYS;

use super::{fields::Entry, redact::Rules, style::Style, value::Value};
use crate::LoggingConfig;

/// The format of one layer's lines.
#[derive(Debug, Clone)]
pub(crate) struct LineFormat {
    pub(crate) style: Style,
    /// Whether JSON lines have the key `target`.
    pub(crate) target: bool,
    pub(crate) rules: Rules,
    /// The fields of every line.
    pub(crate) fields: Arc<[Entry]>,
}

impl LineFormat {
    pub(crate) fn new(style: Style, config: &LoggingConfig, rules: Rules) -> Self {
        let fields = config.fields.iter().map(|(name, value)| {
            // Leaked: the log lives as long as the program.
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

    /// The keys of these lines, which no field may have.
    pub(super) fn reserved(&self) -> &'static [&'static str] {
        match LINE_KEYS.split_last() {
            Some((_target, others)) if !self.target => others,
            _ => &LINE_KEYS,
        }
    }
}
