use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of a trace; never zero. On the wire 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span; never zero. On the wire 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $size:literal) => {
        impl $name {
            /// `None` for an id of zeros, which means that there is no id.
            pub fn new(bytes: [u8; $size]) -> Option<Self> {
                (bytes != [0; $size]).then_some(Self(bytes))
            }

            /// The id's bytes.
            pub fn to_bytes(self) -> [u8; $size] {
                self.0
            }
        }

        impl Id for $name {
            const EXPECTED: &str = concat!($size, " bytes in hexadecimal digits, not all zero");

            fn parse(text: &str) -> Option<Self> {
                unhex(text).and_then(Self::new)
            }
        }

        /// Lower-case hexadecimal digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Text::deserialize(deserializer)?;
                Self::parse(&text.0).ok_or_else(|| {
                    de::Error::invalid_value(de::Unexpected::Str(&text.0), &Self::EXPECTED)
                })
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

/// For `deserialize_with`: an optional id. Null, an empty text and zeros mean that it is absent.
pub(super) fn optional<'de, D: Deserializer<'de>, T: Id>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match Option::<Text<'_>>::deserialize(deserializer)? {
        Some(Text(text)) if text.bytes().any(|digit| digit != b'0') => T::parse(&text)
            .map(Some)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &T::EXPECTED)),
        _ => Ok(None),
    }
}

/// An id of either size.
pub(super) trait Id: Sized {
    const EXPECTED: &str;

    fn parse(text: &str) -> Option<Self>;
}

/// Trace flags as two hexadecimal digits, or as a number.
pub(super) mod flags {
    use super::{Deserialize, Deserializer, Serializer, Text, de, unhex};
    use crate::lenient::Integer;

    pub(in super::super) fn serialize<S: Serializer>(
        flags: &Option<u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match flags {
            Some(flags) => serializer.collect_str(&format_args!("{flags:02x}")),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u8>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Flags<'a> {
            Number(Integer<u8>),
            #[serde(borrow)]
            Digits(Text<'a>),
        }
        match Option::<Flags<'_>>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Flags::Number(flags)) => Ok(Some(flags.0)),
            Some(Flags::Digits(Text(digits))) => match unhex::<1>(&digits) {
                Some([flags]) => Ok(Some(flags)),
                None => Err(de::Error::custom("trace flags are two hexadecimal digits")),
            },
        }
    }

    /// For `deserialize_with`: the flags of a span, sampled if absent.
    pub(in super::super) fn or_sampled<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u8, D::Error> {
        deserialize(deserializer).map(|flags| flags.unwrap_or(1))
    }

    /// For `deserialize_with`: the flags of a link, none if absent.
    pub(in super::super) fn or_none<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u8, D::Error> {
        deserialize(deserializer).map(Option::unwrap_or_default)
    }
}

/// A text that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = 16 * digit(pair[0])? + digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| value.try_into().ok())
}
