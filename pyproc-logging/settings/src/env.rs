use std::{ffi::OsString, fmt};

use crate::{Invalid, Kind};

/// The environment, or what a test puts in its place.
#[derive(Clone, Copy)]
pub struct Env<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl<'a> Env<'a> {
    /// `lookup` gives the value of a variable.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self(lookup)
    }

    /// A variable's value. An empty variable counts as not set.
    pub fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A variable's value, read as this kind.
    ///
    /// # Errors
    ///
    /// Names the variable whose value cannot be read.
    pub fn value<K: Kind>(&self, name: &str, kind: &K) -> Result<Option<K::Value>, Invalid> {
        let value = self.get(name);
        let read = value.map(|value| kind.read(&value)).transpose();
        read.map_err(|reason| Invalid::new(name, reason))
    }

    /// Replaces the field's value if the variable is set.
    ///
    /// # Errors
    ///
    /// Names the variable whose value cannot be read.
    pub fn set<K: Kind>(&self, name: &str, field: &mut K::Value, kind: &K) -> Result<(), Invalid> {
        if let Some(value) = self.value(name, kind)? {
            *field = value;
        }
        Ok(())
    }
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}
