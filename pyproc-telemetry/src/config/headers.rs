//! Headers of requests to the collector, which carry secrets.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

pub(super) const SHAPE: &str = "must map names of headers to texts";

/// What the exporter says about a request itself.
const OURS: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
];

/// Headers sent to the collector. `Debug` shows the names only, as values are often secret.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Sets a header. Names and values are checked when the settings are validated.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0
            .insert(name.into().to_ascii_lowercase(), value.into());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in &self.0 {
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(format!("{name:?} is not the name of a header"));
            }
            if OURS.contains(&&**name) {
                return Err(format!("{name} is set by the exporter"));
            }
            if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(format!(
                    "the value of {name} has characters that no header may have"
                ));
            }
        }
        Ok(())
    }
}

impl From<BTreeMap<String, String>> for Headers {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.keys();
        f.debug_map()
            .entries(names.map(|name| (name, "…")))
            .finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.insert(name, value);
        }
        headers
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
