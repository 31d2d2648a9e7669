//! How the text of a variable becomes a value, and which values are allowed.

use std::{
    ffi::OsStr,
    fmt::Display,
    marker::PhantomData,
    ops::{Bound::Included, RangeBounds},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use serde::de::{
    DeserializeOwned,
    value::{Error as TextError, StrDeserializer},
};

/// The values that a setting may have. A function from text to a value is one, such as [`flag`].
pub trait Kind {
    /// The field's type.
    type Value;

    /// Reads a variable's value. It need not be in range: code may set another one.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and what to write.
    fn read(&self, text: &OsStr) -> Result<Self::Value, String>;

    /// Checks a value, wherever it came from.
    ///
    /// # Errors
    ///
    /// Says what is wrong.
    fn check(&self, _value: &Self::Value) -> Result<(), String> {
        Ok(())
    }
}

impl<T, F: Fn(&str) -> Result<T, String>> Kind for F {
    type Value = T;

    fn read(&self, text: &OsStr) -> Result<T, String> {
        self(text.to_str().ok_or("is not UTF-8")?)
    }
}

/// A whole number within these bounds, such as `1..=100` or `1..`.
pub fn number<T: FromStr + PartialOrd + Display>(
    bounds: impl RangeBounds<T>,
) -> impl Kind<Value = T> {
    Number(bounds, PhantomData)
}

struct Number<R, T>(R, PhantomData<T>);

impl<T: FromStr + PartialOrd + Display, R: RangeBounds<T>> Kind for Number<R, T> {
    type Value = T;

    fn read(&self, text: &OsStr) -> Result<T, String> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| format!("{text:?}: {}", self.help()))
        };
        parse.read(text)
    }

    fn check(&self, value: &T) -> Result<(), String> {
        match (
            self.0.contains(value),
            self.0.start_bound(),
            self.0.end_bound(),
        ) {
            (false, Included(first), Included(last)) => {
                Err(format!("{value} is not between {first} and {last}"))
            }
            (false, Included(first), _) => Err(format!("must be at least {first}")),
            _ => Ok(()),
        }
    }
}

impl<T: Display, R: RangeBounds<T>> Number<R, T> {
    fn help(&self) -> String {
        match (self.0.start_bound(), self.0.end_bound()) {
            (Included(first), Included(last)) => {
                format!("write a whole number between {first} and {last}")
            }
            (Included(first), _) => format!("write a whole number of at least {first}"),
            _ => "write a whole number".into(),
        }
    }
}

/// A setting that need not have a value.
pub fn optional<K: Kind>(kind: K) -> impl Kind<Value = Option<K::Value>> {
    Optional(kind)
}

struct Optional<K>(K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn read(&self, text: &OsStr) -> Result<Self::Value, String> {
        self.0.read(text).map(Some)
    }

    fn check(&self, value: &Self::Value) -> Result<(), String> {
        value.as_ref().map_or(Ok(()), |value| self.0.check(value))
    }
}

/// A path, which need not be UTF-8.
pub fn path() -> impl Kind<Value = PathBuf> {
    Raw(|text| text.into())
}

/// Paths with `:` between them, as in `PATH`.
pub fn paths() -> impl Kind<Value = Vec<PathBuf>> {
    Raw(|text| std::env::split_paths(text).collect())
}

struct Raw<T>(fn(&OsStr) -> T);

impl<T> Kind for Raw<T> {
    type Value = T;

    fn read(&self, text: &OsStr) -> Result<T, String> {
        Ok((self.0)(text))
    }
}

/// Any text.
///
/// # Errors
///
/// None.
pub fn text(text: &str) -> Result<String, String> {
    Ok(text.into())
}

/// `true`, `false`, `1` or `0`, in any case.
///
/// # Errors
///
/// It is none of these.
pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{text:?}: write true or false")),
    }
}

/// A duration such as `5s` or `1m 30s`. The serde form reads it, too, so that both take the same notation.
///
/// # Errors
///
/// It is no duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::deserialize(StrDeserializer::<TextError>::new(text))
        .map_err(|_| format!("{text:?}: is no duration, such as 5s or 250ms"))
}

/// A word that the serde form of the type knows.
///
/// # Errors
///
/// It does not know the word; the reason lists those that it knows.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<TextError>::new(text))
        .map_err(|error| format!("{text:?}: {error}"))
}

/// Texts with commas between them; blanks around each do not count.
///
/// # Errors
///
/// None.
pub fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(|part| part.trim().into()).collect())
}

/// A check of durations: zero is not allowed.
///
/// # Errors
///
/// It is zero.
pub fn longer_than_zero(value: &Duration) -> Result<(), String> {
    match value.is_zero() {
        true => Err("must be longer than zero".into()),
        false => Ok(()),
    }
}
