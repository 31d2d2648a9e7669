use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is said of a span, an event, a link, a scope or a resource.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// The value of an attribute, as OpenTelemetry has them. On the wire a JSON value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum AttributeValue {
    /// True or false.
    Bool(bool),
    /// A whole number. One beyond 64 bits is read as a [float](Self::Float).
    Int(i64),
    /// A number that is finite: JSON has no other.
    Float(f64),
    /// A text.
    Text(String),
    /// Truths.
    Bools(Vec<bool>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Numbers, of which at least one is not whole.
    Floats(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}
