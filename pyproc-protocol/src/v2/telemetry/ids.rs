use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of a trace, never zero. On the wire 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span, never zero. On the wire 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $size:literal) => {
        impl $name {
            /// `None` for the id of zeros, which means that there is none.
            pub fn new(bytes: [u8; $size]) -> Option<Self> {
                (bytes != [0; $size]).then_some(Self(bytes))
            }

            /// The id's bytes.
            pub fn to_bytes(self) -> [u8; $size] {
                self.0
            }

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
                    let expected = concat!($size, " bytes in hexadecimal digits, not all zero");
                    de::Error::invalid_value(de::Unexpected::Str(&text.0), &expected)
                })
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

/// A parent that is absent where it is an empty text.
pub(super) mod parent {
    use super::{Deserialize, Deserializer, Serialize, Serializer, SpanId, Text, de, fmt};

    pub(in super::super) fn serialize<S: Serializer>(
        id: &Option<SpanId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        id.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SpanId>, D::Error> {
        let text = Text::deserialize(deserializer)?;
        if text.0.is_empty() {
            return Ok(None);
        }
        let invalid = |text: &dyn fmt::Display| de::Error::custom(format!("no span id: {text}"));
        SpanId::parse(&text.0)
            .map(Some)
            .ok_or_else(|| invalid(&text.0))
    }
}

/// Trace flags as two hexadecimal digits.
pub(super) mod flags {
    use super::{Deserialize, Deserializer, Serializer, Text, de, unhex};

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
        let text = Text::deserialize(deserializer)?;
        match unhex::<1>(&text.0) {
            Some([flags]) => Ok(Some(flags)),
            None => Err(de::Error::custom("trace flags are two hexadecimal digits")),
        }
    }
}

/// A text that is borrowed where it can be.
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
