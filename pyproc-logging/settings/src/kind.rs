//! How the text of a variable becomes a value, and which values are allowed.

use std::{
    ffi::OsStr, fmt::Display, marker::PhantomData, ops::RangeInclusive, path::PathBuf,
    str::FromStr, time::Duration,
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

/// A whole number within these bounds.
pub fn number<T>(allowed: RangeInclusive<T>) -> impl Kind<Value = T>
where
    T: FromStr + PartialOrd + Display,
{
    let bounds = format!("{} and {}", allowed.start(), allowed.end());
    let help = format!("write a whole number between {bounds}");
    checked(
        move |text| text.parse().map_err(|_| format!("{text:?}: {help}")),
        move |value: &T| match allowed.contains(value) {
            true => Ok(()),
            false => Err(format!("{value} is not between {bounds}")),
        },
    )
}

/// What `read` makes of a text, if `check` has nothing against it.
pub fn checked<T>(
    read: impl Fn(&str) -> Result<T, String>,
    check: impl Fn(&T) -> Result<(), String>,
) -> impl Kind<Value = T> {
    Checked(read, check, PhantomData)
}

struct Checked<R, C, T>(R, C, PhantomData<T>);

impl<T, R, C> Kind for Checked<R, C, T>
where
    R: Fn(&str) -> Result<T, String>,
    C: Fn(&T) -> Result<(), String>,
{
    type Value = T;

    fn read(&self, text: &OsStr) -> Result<T, String> {
        self.0.read(text)
    }

    fn check(&self, value: &T) -> Result<(), String> {
        (self.1)(value)
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
