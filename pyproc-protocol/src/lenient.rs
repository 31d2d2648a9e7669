//! Accepts what JSON libraries of other languages write: `null` for absent members, and integers with a fraction of zero.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

/// A non-negative integer, written as any number with that value. With `TRUNCATES`, a fraction is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Integer<T, const TRUNCATES: bool = false>(pub(crate) T);

impl<'de, T: TryFrom<u64>, const TRUNCATES: bool> Deserialize<'de> for Integer<T, TRUNCATES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(Visitor(PhantomData))
    }
}

struct Visitor<T, const TRUNCATES: bool>(PhantomData<T>);

impl<T: TryFrom<u64>, const TRUNCATES: bool> de::Visitor<'_> for Visitor<T, TRUNCATES> {
    type Value = Integer<T, TRUNCATES>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = 8 * size_of::<T>();
        write!(f, "an integer from 0 on, of at most {bits} bits")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        let fits = T::try_from(value).ok();
        fits.map(Integer)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        let is_whole = TRUNCATES || value.fract() == 0.0;
        match is_whole && (0.0..2_f64.powi(64)).contains(&value) {
            true => self.visit_u64(value as u64),
            false => Err(E::invalid_value(de::Unexpected::Float(value), &self)),
        }
    }
}

/// For `deserialize_with`: an integer; a fraction is cut off.
pub(crate) fn integer<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Integer::<T, true>::deserialize(deserializer).map(|it| it.0)
}

/// For `deserialize_with`: an integer that may be null.
pub(crate) fn optional_integer<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let read = Option::<Integer<T, true>>::deserialize(deserializer)?;
    Ok(read.map(|it| it.0))
}

/// For `deserialize_with`: an integer; null means the default.
pub(crate) fn integer_or_default<'de, D: Deserializer<'de>, T: TryFrom<u64> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    optional_integer(deserializer).map(Option::unwrap_or_default)
}

/// For `deserialize_with`: an array of integers.
pub(crate) fn integers<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let read = Vec::<Integer<T, true>>::deserialize(deserializer)?;
    Ok(read.into_iter().map(|it| it.0).collect())
}

/// For `deserialize_with`: null means the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
