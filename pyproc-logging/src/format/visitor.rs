use std::{
    error::Error,
    fmt::{self, Write},
};

use tracing::field::{Field, Visit};

use super::{
    redact::{CUT, Rules, floor_char_boundary},
    value::Value,
};

/// Receives the values of fields one by one.
pub(crate) trait Record {
    fn record(&mut self, field: &Field, value: Value<'_>);

    /// Whether a value of this field is needed, so that it is formatted.
    fn wants(&self, _: &Field) -> bool {
        true
    }

    /// Whether a text of this field is passed on unchanged, whatever its length.
    fn takes_whole(&self, _: &Field) -> bool {
        false
    }
}

/// Converts the values of `tracing` into [`Value`]s within the maximum length.
pub(crate) struct Visitor<'a, R> {
    pub(crate) rules: &'a Rules,
    /// The buffer for values that are formatted.
    pub(crate) text: &'a mut String,
    pub(crate) to: &'a mut R,
}

impl<R: Record> Visitor<'_, R> {
    fn made(&mut self, field: &Field, make: impl FnOnce(&mut Bounded<'_>) -> fmt::Result) {
        if !self.to.wants(field) {
            return;
        }
        self.text.clear();
        let mut bounded = Bounded {
            text: self.text,
            limit: self.rules.max_value_bytes,
            full: false,
        };
        let result = make(&mut bounded);
        if bounded.full {
            self.text.push_str(CUT);
        } else if result.is_err() {
            self.text.push_str("[could not be formatted]");
        }
        self.to.record(field, Value::Text(self.text));
    }
}

impl<R: Record> Visit for Visitor<'_, R> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.to.record(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.to.record(field, Value::Unsigned(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.made(field, |text| write!(text, "{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.made(field, |text| write!(text, "{value}")),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.to.record(field, Value::Float(value));
        } else {
            self.made(field, |text| write!(text, "{value}"));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.to.record(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let too_long = |_: &&str| !self.to.takes_whole(field);
        match self.rules.head(value).filter(too_long) {
            None => self.to.record(field, Value::Text(value)),
            Some(head) => self.made(field, |text| {
                text.full = true;
                text.text.push_str(head);
                Ok(())
            }),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.made(field, |text| {
            write!(text, "{value}")?;
            let mut source = value.source();
            while let Some(cause) = source {
                write!(text, ": {cause}")?;
                source = cause.source();
            }
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.made(field, |text| write!(text, "{value:?}"));
    }
}

/// A text with a maximum length. Writing more is an error, so that formatting a huge value ends early.
struct Bounded<'a> {
    text: &'a mut String,
    limit: usize,
    full: bool,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = floor_char_boundary(text, room);
        self.text.push_str(text.get(..end).unwrap_or_default());
        self.full = true;
        Err(fmt::Error)
    }
}
