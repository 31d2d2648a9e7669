//! The members of a JSON object as fields of a line, under the same rules for secrets, lengths and names.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    fields::next_free,
    redact::{CUT, REDACTED, Rules},
    style::write_quoted,
    value::Value,
};

/// An object with more members becomes one field, as the search for a free name takes longer with each member.
const MAX_MEMBERS: usize = 256;

/// Containers nested deeper are cut.
const MAX_DEPTH: usize = 32;

/// Calls `each` for each member of an object, or once for the whole object if it has too many. False if the text is not
/// a JSON object.
pub(crate) fn flatten(
    name: &str,
    text: &str,
    rules: &Rules,
    mut each: impl FnMut(&str, Value<'_>),
) -> bool {
    let Ok(Members(members)) = serde_json::from_str(text) else {
        return false;
    };
    if members.len() > MAX_MEMBERS {
        if let Ok(whole) = serde_json::from_str(text) {
            with_value(name, whole, rules, |value| each(name, value));
        }
        return true;
    }
    for (name, value) in members {
        with_value(&name, value, rules, |value| each(&name, value));
    }
    true
}

/// Converts a JSON value to a value of the line, within its maximum length.
fn with_value(name: &str, json: &RawValue, rules: &Rules, use_it: impl FnOnce(Value<'_>)) {
    if let Some(text) = text(json) {
        return use_it(rules.shown(name, Value::Text(&rules.cut(&text))));
    }
    let mut out = Vec::new();
    write(name, json, 0, rules, &mut out);
    let written = String::from_utf8_lossy(&out);
    match rules.cut(&written) {
        Cow::Borrowed(whole) => use_it(Value::Json(whole)),
        Cow::Owned(cut) => use_it(Value::Text(&cut)),
    }
}

/// Writes a JSON value on one line, without duplicate keys in an object, with secrets redacted at any depth. Numbers
/// keep all their digits.
fn write(name: &str, json: &RawValue, depth: usize, rules: &Rules, out: &mut Vec<u8>) {
    if rules.any() && rules.hides(name, || shown(json, rules)) {
        return write_quoted(REDACTED, out);
    }
    match json.get().as_bytes() {
        [b'{' | b'[', ..] if depth == MAX_DEPTH => write_quoted(CUT, out),
        [b'{', ..] => {
            out.push(b'{');
            for (at, (name, value)) in members(json).into_iter().enumerate() {
                write_comma(at, out);
                write_quoted(&name, out);
                out.push(b':');
                write(&name, value, depth + 1, rules, out);
            }
            out.push(b'}');
        }
        [b'[', ..] => {
            out.push(b'[');
            // It was parsed as JSON before, so this succeeds.
            let items: Vec<&RawValue> = serde_json::from_str(json.get()).unwrap_or_default();
            for (at, item) in items.into_iter().enumerate() {
                write_comma(at, out);
                write(name, item, depth + 1, rules, out);
            }
            out.push(b']');
        }
        _ => match text(json) {
            Some(text) => write_quoted(&text, out),
            None => out.extend_from_slice(json.get().as_bytes()),
        },
    }
}

fn write_comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

/// A value as a predicate gets it.
fn shown<'a>(json: &'a RawValue, rules: &Rules) -> Cow<'a, str> {
    match text(json) {
        Some(text) => rules.cut(&text).into_owned().into(),
        None => rules.cut(json.get()),
    }
}

/// The content of a JSON string, if it is one.
fn text(json: &RawValue) -> Option<String> {
    if !json.get().starts_with('"') {
        return None;
    }
    let Lossy(text) = serde_json::from_str(json.get()).ok()?;
    Some(text)
}

/// The members of a nested object. Later members of the same name get the next free name.
fn members(json: &RawValue) -> Vec<(String, &RawValue)> {
    let Members(mut members) = serde_json::from_str(json.get()).unwrap_or_default();
    let mut taken: HashSet<String> = members.iter().map(|(name, _)| name.clone()).collect();
    if taken.len() < members.len() {
        let mut seen = HashSet::new();
        for (name, _) in &mut members {
            if !seen.insert(name.clone()) {
                *name = next_free(name, |key| taken.contains(key));
                taken.insert(name.clone());
            }
        }
    }
    members
}

/// The members of an object in their order. A key may occur more than once.
#[derive(Default)]
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Lossy(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A text in which Python's lone surrogates, which are not valid Unicode, are replaced.
struct Lossy(String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyBytes;
        impl Visitor<'_> for AnyBytes {
            type Value = Lossy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Lossy, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(AnyBytes)
    }
}
