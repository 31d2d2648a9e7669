use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IgnoredAny, MapAccess, SeqAccess},
};

/// Attributes of a span, an event, a link, a scope or a resource.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// The value of an attribute, as in OpenTelemetry. On the wire a JSON value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum AttributeValue {
    /// A boolean.
    Bool(bool),
    /// An integer. One beyond 64 bits is decoded as a [float](Self::Float).
    Int(i64),
    /// A finite number.
    Float(f64),
    /// A text.
    Text(String),
    /// Booleans.
    Bools(Vec<bool>),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers of which at least one is not an integer.
    Floats(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a text, a boolean, a number, or an array of one of them";
        Possible::deserialize(deserializer)?
            .0
            .ok_or_else(|| de::Error::custom(format_args!("an attribute is {expected}")))
    }
}

/// For `deserialize_with`: attributes, without values of types that OpenTelemetry does not have. Null means no attributes.
pub(super) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Attributes, D::Error> {
    optional(deserializer).map(Option::unwrap_or_default)
}

/// Like [`lenient`], but null and an absent member stay distinguishable from no attributes.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Attributes>, D::Error> {
    let read = Option::<BTreeMap<String, Possible>>::deserialize(deserializer)?;
    let known = |(name, Possible(value))| Some((name, value?));
    Ok(read.map(|read| read.into_iter().filter_map(known).collect()))
}

/// Any JSON value; `None` if it cannot be an attribute's.
struct Possible(Option<AttributeValue>);

impl<'de> Deserialize<'de> for Possible {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor).map(Self)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Option<AttributeValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(AttributeValue::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(AttributeValue::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        let integer = i64::try_from(value).map(AttributeValue::Int);
        Ok(Some(integer.unwrap_or(AttributeValue::Float(value as f64))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(AttributeValue::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(AttributeValue::Text(value.into())))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Some(AttributeValue::Text(value)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut array = Some(AttributeValue::Bools(Vec::new()));
        while let Some(Possible(value)) = values.next_element()? {
            array = array
                .zip(value)
                .and_then(|(array, value)| append(array, value));
        }
        Ok(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Appends a value to an array; `None` if their types differ.
fn append(array: AttributeValue, value: AttributeValue) -> Option<AttributeValue> {
    use AttributeValue::{Bool, Bools, Float, Floats, Int, Ints, Text, Texts};
    Some(match (array, value) {
        (Bools(bools), Int(value)) if bools.is_empty() => Ints(vec![value]),
        (Bools(bools), Float(value)) if bools.is_empty() => Floats(vec![value]),
        (Bools(bools), Text(value)) if bools.is_empty() => Texts(vec![value]),
        (Bools(bools), Bool(value)) => Bools(pushed(bools, value)),
        (Ints(ints), Int(value)) => Ints(pushed(ints, value)),
        (Ints(ints), Float(value)) => Floats(pushed(
            ints.into_iter().map(|it| it as f64).collect(),
            value,
        )),
        (Floats(floats), Int(value)) => Floats(pushed(floats, value as f64)),
        (Floats(floats), Float(value)) => Floats(pushed(floats, value)),
        (Texts(texts), Text(value)) => Texts(pushed(texts, value)),
        _ => return None,
    })
}

fn pushed<T>(mut values: Vec<T>, value: T) -> Vec<T> {
    values.push(value);
    values
}
