use std::{borrow::Cow, ops::Range};

use tracing::field::Field;

use super::{style::Style, value::Value};

/// One field of a span, rendered once for all lines inside the span.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The field's index among those that its span declares.
    pub(crate) place: usize,
    name: Cow<'static, str>,
    text: Vec<u8>,
    /// Where in `text` the value begins.
    value: usize,
}

impl Entry {
    pub(crate) fn new(field: &Field, value: Value<'_>, style: Style) -> Self {
        Self {
            place: field.index(),
            ..Self::of_every_line(name_of(field).into(), value, style)
        }
    }

    /// A field that no span declares.
    pub(crate) fn of_every_line(name: Cow<'static, str>, value: Value<'_>, style: Style) -> Self {
        let mut text = Vec::with_capacity(64);
        style.key(&name, &mut text);
        let start = text.len();
        style.value(value, &mut text);
        Self {
            place: 0,
            name,
            text,
            value: start,
        }
    }

    /// The rendered name and value.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// The name of a field without the prefix of raw identifiers: `r#type` is `type`.
pub(crate) fn name_of(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// The fields of a line, each under a unique key.
///
/// The first field of a name keeps it. A later field of the same name, or one whose name is reserved, is deferred until
/// all names are known, and then gets the next free number: `name_2`, `name_3`. One that also has the same value is left
/// out.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    written: Vec<Written>,
    duplicates: Vec<Written>,
    duplicate_bytes: Vec<u8>,
    /// One bit for each hash of a name that may be taken.
    taken: u64,
    reserved: &'static [&'static str],
    /// Names that became reserved after the first fields.
    closed: &'static [&'static str],
}

#[derive(Debug)]
struct Written {
    name: Cow<'static, str>,
    value: Range<usize>,
}

impl Fields {
    pub(crate) fn clear(&mut self, reserved: &'static [&'static str]) {
        self.bytes.clear();
        self.written.clear();
        self.duplicates.clear();
        self.duplicate_bytes.clear();
        self.reserved = reserved;
        self.closed = &[];
        self.taken = reserved.iter().fold(0, |taken, name| taken | bit(name));
    }

    /// Reserves these names for the rest of the line.
    pub(crate) fn close(&mut self, names: &'static [&'static str]) {
        self.closed = names;
        self.taken = names
            .iter()
            .fold(self.taken, |taken, name| taken | bit(name));
    }

    pub(crate) fn add(&mut self, name: Cow<'static, str>, value: Value<'_>, style: Style) {
        if self.claim(&name) {
            style.key(&name, &mut self.bytes);
            let start = self.bytes.len();
            style.value(value, &mut self.bytes);
            self.written.push(Written {
                name,
                value: start..self.bytes.len(),
            });
        } else {
            let start = self.duplicate_bytes.len();
            style.value(value, &mut self.duplicate_bytes);
            self.defer(name, start);
        }
    }

    pub(crate) fn add_entry(&mut self, entry: &Entry) {
        if self.claim(&entry.name) {
            let start = self.bytes.len() + entry.value;
            self.bytes.extend_from_slice(&entry.text);
            self.written.push(Written {
                name: entry.name.clone(),
                value: start..self.bytes.len(),
            });
        } else {
            let start = self.duplicate_bytes.len();
            self.duplicate_bytes
                .extend_from_slice(&entry.text[entry.value..]);
            self.defer(entry.name.clone(), start);
        }
    }

    /// The rendered fields. Called once, when all are added.
    pub(crate) fn finish(&mut self, style: Style) -> &[u8] {
        let mut renamed: Vec<String> = Vec::new();
        for duplicate in std::mem::take(&mut self.duplicates) {
            if self.is_repeated(&duplicate) {
                continue;
            }
            let is_taken =
                |key: &str| self.is_taken(key) || renamed.iter().any(|known| known == key);
            let key = next_free(&duplicate.name, is_taken);
            style.key(&key, &mut self.bytes);
            renamed.push(key);
            let start = self.bytes.len();
            self.bytes
                .extend_from_slice(&self.duplicate_bytes[duplicate.value]);
            self.written.push(Written {
                name: duplicate.name,
                value: start..self.bytes.len(),
            });
        }
        &self.bytes
    }

    /// Memory kept for values.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity().max(self.duplicate_bytes.capacity())
    }

    /// Reserves the name. False if it was in use.
    fn claim(&mut self, name: &str) -> bool {
        let bit = bit(name);
        let free = self.taken & bit == 0 || !self.is_taken(name);
        self.taken |= bit;
        free
    }

    fn is_taken(&self, name: &str) -> bool {
        self.reserved.contains(&name)
            || self.closed.contains(&name)
            || self.written.iter().any(|field| field.name == name)
    }

    fn defer(&mut self, name: Cow<'static, str>, start: usize) {
        let value = start..self.duplicate_bytes.len();
        self.duplicates.push(Written { name, value });
    }

    fn is_repeated(&self, duplicate: &Written) -> bool {
        let value = &self.duplicate_bytes[duplicate.value.clone()];
        self.written
            .iter()
            .any(|field| field.name == duplicate.name && self.bytes[field.value.clone()] == *value)
    }
}

/// The first of `name_2`, `name_3` and so on that is free.
pub(crate) fn next_free(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut number = 2_usize;
    loop {
        let key = format!("{name}_{number}");
        if !is_taken(&key) {
            return key;
        }
        number += 1;
    }
}

/// A cheap hash: most names differ in length, first or last letter.
fn bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let first = bytes.first().copied().unwrap_or(0);
    let last = bytes.last().copied().unwrap_or(0);
    let hash = bytes.len() * 31 + usize::from(first) * 7 + usize::from(last);
    1 << (hash % 64)
}
