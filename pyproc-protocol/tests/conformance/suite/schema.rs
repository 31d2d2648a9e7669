//! Holds records against `records.schema.json`: as much of JSON Schema as that file uses, and an error for anything else in it.

use serde_json::{Map, Value};

/// The schema of a record, as authors of workers get it.
const TEXT: &str = include_str!("../../../records.schema.json");

/// Why a record is none that a worker may write.
pub(crate) fn check(record: &Value) -> Result<(), String> {
    let root: Value = serde_json::from_str(TEXT).map_err(|error| error.to_string())?;
    Schema { root: &root }.check(&root, record)
}

struct Schema<'a> {
    root: &'a Value,
}

impl Schema<'_> {
    fn check(&self, node: &Value, value: &Value) -> Result<(), String> {
        let node = node.as_object().ok_or("a schema is an object")?;
        node.iter()
            .try_for_each(|(word, rule)| self.keyword(node, word, rule, value))
    }

    fn fits(&self, node: &Value, value: &Value) -> bool {
        self.check(node, value).is_ok()
    }

    fn keyword(
        &self,
        node: &Map<String, Value>,
        word: &str,
        rule: &Value,
        value: &Value,
    ) -> Result<(), String> {
        let array = value.as_array();
        let object = value.as_object();
        let most = |length: usize| rule.as_u64().is_none_or(|most| length as u64 <= most);
        let holds =
            match word {
                "$schema" | "$defs" | "title" | "description" | "then" | "else" => true,
                "$ref" => return self.check(self.definition(rule)?, value),
                "type" => types(rule).any(|name| is(value, name)),
                "const" => rule == value,
                "enum" => list(rule).contains(value),
                "allOf" => return list(rule).iter().try_for_each(|it| self.check(it, value)),
                "anyOf" => list(rule).iter().any(|it| self.fits(it, value)),
                "not" => !self.fits(rule, value),
                "if" => return self.branch(node, rule, value),
                "required" => {
                    object.is_none_or(|it| list(rule).iter().all(|key| it.contains_key(text(key))))
                }
                "properties" => return self.properties(rule, value),
                "additionalProperties" => {
                    return each(object.into_iter().flatten(), |it| self.check(rule, it));
                }
                "propertyNames" => object
                    .is_none_or(|it| it.keys().all(|key| self.fits(rule, &key.as_str().into()))),
                "maxProperties" => object.is_none_or(|it| most(it.len())),
                "items" => return list(value).iter().try_for_each(|it| self.check(rule, it)),
                "minItems" => array
                    .is_none_or(|it| rule.as_u64().is_none_or(|least| it.len() as u64 >= least)),
                "maxItems" => array.is_none_or(|it| most(it.len())),
                "uniqueItems" => array.is_none_or(|it| {
                    it.iter()
                        .enumerate()
                        .all(|(i, item)| !it[..i].contains(item))
                }),
                "minimum" => value.as_f64().is_none_or(|it| Some(it) >= rule.as_f64()),
                "maximum" => value.as_f64().is_none_or(|it| Some(it) <= rule.as_f64()),
                "maxLength" => value.as_str().is_none_or(|it| most(it.chars().count())),
                "pattern" => value
                    .as_str()
                    .map_or(Ok(true), |it| matches(text(rule), it))?,
                _ => return Err(format!("`{word}` is no keyword that this validator knows")),
            };
        match holds {
            true => Ok(()),
            false => Err(format!("{value} breaks {word}: {rule}")),
        }
    }

    fn branch(
        &self,
        node: &Map<String, Value>,
        condition: &Value,
        value: &Value,
    ) -> Result<(), String> {
        let branch = if self.fits(condition, value) {
            "then"
        } else {
            "else"
        };
        node.get(branch).map_or(Ok(()), |it| self.check(it, value))
    }

    fn properties(&self, rules: &Value, value: &Value) -> Result<(), String> {
        let present = rules.as_object().into_iter().flatten();
        each(
            present.filter_map(|(key, rule)| Some((key, (rule, value.get(key)?)))),
            |(rule, member)| self.check(rule, member),
        )
    }

    fn definition(&self, reference: &Value) -> Result<&Value, String> {
        let pointer = text(reference).strip_prefix('#').unwrap_or_default();
        self.root
            .pointer(pointer)
            .ok_or(format!("{reference} leads nowhere"))
    }
}

/// Checks members, and says of which one an error is.
fn each<'a, T>(
    members: impl Iterator<Item = (&'a String, T)>,
    check: impl Fn(T) -> Result<(), String>,
) -> Result<(), String> {
    for (key, member) in members {
        check(member).map_err(|error| format!("{key}: {error}"))?;
    }
    Ok(())
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // Written in digits: 3-T8.
        "integer" => value.is_u64() || value.is_i64(),
        _ => false,
    }
}

fn matches(pattern: &str, value: &str) -> Result<bool, String> {
    let digits = |count| value.len() == count && value.bytes().all(|it| it.is_ascii_hexdigit());
    let id = |count| digits(count) && value.bytes().any(|it| it != b'0');
    let name = |others: &str| {
        let fits = |it: char| it.is_ascii_alphanumeric() || others.contains(it);
        value.chars().all(fits)
            && !value.is_empty()
            && !value.starts_with(|it: char| it.is_ascii_digit())
    };
    Ok(match pattern {
        "^(?!0{32}$)[0-9a-fA-F]{32}$" => id(32),
        "^(?!0{16}$)[0-9a-fA-F]{16}$" => id(16),
        "^[0-9a-fA-F]{2}$" => digits(2),
        "^[a-zA-Z_:][a-zA-Z0-9_:]*$" => name("_:"),
        "^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$" => name("_") && !value.starts_with("__"),
        _ => return Err(format!("{pattern} is no pattern that this validator knows")),
    })
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    let several = list(rule).iter().map(text);
    several.chain(rule.as_str())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
