//! Python's values as JSON.

pub(crate) mod json;
