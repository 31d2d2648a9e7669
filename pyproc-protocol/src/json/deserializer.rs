//! Decodes values with serde.

use std::sync::OnceLock;
use std::{mem, str};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer as _, IgnoredAny, Visitor},
    forward_to_deserialize_any,
};

use super::{
    PRIVATE, Refused, Result,
    reader::{Number, Reader},
};

/// The nesting limit of `serde_json`.
const LEVELS: usize = 127;

/// Decodes values from a JSON text.
pub(super) struct Deserializer<'de> {
    text: &'de str,
    reader: Reader<'de>,
    has_failed: bool,
}

impl<'de> Deserializer<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self {
            text,
            reader: Reader::new(text.as_bytes(), LEVELS),
            has_failed: false,
        }
    }

    /// Whether the whole text was read without a failure.
    pub(super) fn is_complete(&mut self) -> bool {
        !self.has_failed && self.reader.is_at_end()
    }

    /// Records a failure: a type may replace an error by a value. Then the result can differ from that of `serde_json`,
    /// which may have had no error, or would continue at another position.
    #[inline]
    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.has_failed = true;
        }
        result
    }
}

/// All methods but `visit_any` and `quoted` need a `peek` before.
impl<'de> Deserializer<'de> {
    #[inline]
    fn visit_any<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.reader.peek()? {
            b'"' => self.visit_text(visitor),
            b'{' => self.visit_object(visitor),
            b'[' => self.visit_array(visitor),
            b't' => {
                self.reader.word("true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.reader.word("false")?;
                visitor.visit_bool(false)
            }
            b'n' => {
                self.reader.word("null")?;
                visitor.visit_unit()
            }
            _ => self.visit_number(visitor),
        }
    }

    #[inline]
    fn visit_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.reader.string()? {
            Some(plain) => visitor.visit_borrowed_str(self.text.get(plain).ok_or(Refused)?),
            None => {
                visitor.visit_str(str::from_utf8(self.reader.unescaped()).map_err(|_| Refused)?)
            }
        }
    }

    #[inline]
    fn visit_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        visit(self.reader.number()?, visitor)
    }

    /// A float of 32 bits is rounded once.
    fn visit_f32<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        match self.reader.number()? {
            Number::Float(_) => {
                let digits = self.text.get(start..self.reader.offset());
                let float: f32 = digits.ok_or(Refused)?.parse().map_err(|_| Refused)?;
                visit_float(float.into(), visitor)
            }
            number => visit(number, visitor),
        }
    }

    fn visit_i128<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        visitor.visit_i128(match self.reader.number()? {
            Number::Integer {
                is_negative,
                magnitude,
            } => match is_negative {
                true => -i128::from(magnitude),
                false => magnitude.into(),
            },
            Number::Large(digits) => digits.parse().map_err(|_| Refused)?,
            Number::Float(_) => return Err(Refused),
        })
    }

    fn visit_u128<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        visitor.visit_u128(match self.reader.number()? {
            Number::Integer {
                is_negative: false,
                magnitude,
            } => magnitude.into(),
            Number::Large(digits) => digits.parse().map_err(|_| Refused)?,
            _ => return Err(Refused),
        })
    }

    /// Takes what is the content of a string.
    fn quoted<T>(&mut self, content: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.reader.take(b'"')?;
        let value = content(self)?;
        self.reader.word("\"")?;
        Ok(value)
    }

    #[inline]
    fn visit_array<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.reader.open()?;
        let value = visitor.visit_seq(Parts::new(self))?;
        self.reader.close(b']')?;
        Ok(value)
    }

    /// An enum in the form of an object: the variant's name and its value.
    fn visit_variant<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.reader.open()?;
        let value = visitor.visit_enum(Variant {
            of: self,
            has_value: true,
        })?;
        self.reader.close(b'}')?;
        Ok(value)
    }

    #[inline]
    fn visit_object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.reader.open()?;
        let value = visitor.visit_map(Parts::new(self))?;
        self.reader.close(b'}')?;
        Ok(value)
    }
}

#[inline]
fn visit<'de, V: Visitor<'de>>(number: Number<'_>, visitor: V) -> Result<V::Value> {
    let float = match number {
        Number::Large(digits) => match digits.parse() {
            Ok(value) => return visitor.visit_u64(value),
            Err(_) => digits.parse().map_err(|_| Refused)?,
        },
        Number::Float(value) => value,
        Number::Integer {
            is_negative: false,
            magnitude,
        } => return visitor.visit_u64(magnitude),
        Number::Integer { magnitude, .. } => match 0_i64.checked_sub_unsigned(magnitude) {
            Some(value) if value < 0 => return visitor.visit_i64(value),
            // `serde_json` decodes integers below the range, and minus zero, as floats.
            _ => -(magnitude as f64),
        },
    };
    visit_float(float, visitor)
}

#[inline]
fn visit_float<'de, V: Visitor<'de>>(float: f64, visitor: V) -> Result<V::Value> {
    if keeps_digits() || !float.is_finite() {
        return Err(Refused);
    }
    visitor.visit_f64(float)
}

/// Whether the program enables `serde_json`'s feature `arbitrary_precision`, which keeps the digits of numbers.
fn keeps_digits() -> bool {
    static KEEPS: OnceLock<bool> = OnceLock::new();
    *KEEPS.get_or_init(|| {
        let number = serde_json::from_str::<serde_json::Number>("1.00");
        number.is_ok_and(|number| number.to_string() == "1.00")
    })
}

/// Methods that take values of one kind only, which the first byte determines.
macro_rules! only {
    ($($first:pat => $visit:ident: $($method:ident($($argument:ty)?))*,)*) => {$($(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $(_: $argument,)? visitor: V) -> Result<V::Value> {
            let value = match self.reader.peek() {
                Ok($first) => self.$visit(visitor),
                _ => Err(Refused),
            };
            self.note(value)
        }
    )*)*};
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Refused;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let value = self.visit_any(visitor);
        self.note(value)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(IgnoredAny)?;
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.reader.peek() {
            Ok(b'n') => {
                let word = self.reader.word("null");
                self.note(word)?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        if name.starts_with(PRIVATE) {
            return self.note(Err(Refused));
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let value = match self.reader.peek() {
            Ok(b'{') => self.visit_object(visitor),
            Ok(b'[') => self.visit_array(visitor),
            _ => Err(Refused),
        };
        self.note(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let value = match self.reader.peek() {
            Ok(b'"') => visitor.visit_enum(Variant {
                of: &mut *self,
                has_value: false,
            }),
            Ok(b'{') => self.visit_variant(visitor),
            _ => Err(Refused),
        };
        self.note(value)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    only! {
        b'n' => deserialize_any: deserialize_unit(),
        b't' | b'f' => deserialize_any: deserialize_bool(),
        b'-' | b'0'..=b'9' => visit_number:
            deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
            deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
            deserialize_f64(),
        b'-' | b'0'..=b'9' => visit_f32: deserialize_f32(),
        b'-' | b'0'..=b'9' => visit_i128: deserialize_i128(),
        b'-' | b'0'..=b'9' => visit_u128: deserialize_u128(),
        b'"' => visit_text:
            deserialize_char() deserialize_str() deserialize_string() deserialize_identifier(),
        b'[' => visit_array:
            deserialize_seq() deserialize_tuple(usize) deserialize_bytes() deserialize_byte_buf(),
        b'{' => visit_object: deserialize_map(),
    }
}

/// The elements of an array or members of an object.
struct Parts<'r, 'de> {
    of: &'r mut Deserializer<'de>,
    is_first: bool,
}

impl<'r, 'de> Parts<'r, 'de> {
    #[inline]
    fn new(of: &'r mut Deserializer<'de>) -> Self {
        Self { of, is_first: true }
    }

    #[inline]
    fn has_more(&mut self, end: u8) -> Result<bool> {
        match self.of.reader.has_more(mem::take(&mut self.is_first), end) {
            // A type that ignores errors waits for the end.
            Err(_) if self.of.has_failed => Ok(false),
            has_more => has_more,
        }
    }
}

impl<'de> de::SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        match self.has_more(b']')? {
            true => seed.deserialize(&mut *self.of).map(Some),
            false => Ok(None),
        }
    }
}

impl<'de> de::MapAccess<'de> for Parts<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        match self.has_more(b'}')? {
            true => seed.deserialize(Key(self.of)).map(Some),
            false => Ok(None),
        }
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        self.of.reader.take(b':')?;
        seed.deserialize(&mut *self.of)
    }
}

/// The key of an object: a string, which may contain a number.
struct Key<'r, 'de>(&'r mut Deserializer<'de>);

/// Methods that decode a number in quotes.
macro_rules! quoted {
    ($($visit:ident: $($method:ident)*,)*) => {$($(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let value = self.0.quoted(|number| number.$visit(visitor));
            self.0.note(value)
        }
    )*)*};
}

/// Methods for rare types, which `serde_json` handles.
macro_rules! refused {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
            self.0.note(Err(Refused))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Key<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.0.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        if name.starts_with(PRIVATE) {
            return self.0.note(Err(Refused));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.0.reader.peek() {
            Ok(b'"') => self.0.deserialize_enum(name, variants, visitor),
            _ => self.0.note(Err(Refused)),
        }
    }

    quoted! {
        visit_number:
            deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
            deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
            deserialize_f64,
        visit_f32: deserialize_f32,
        visit_i128: deserialize_i128,
        visit_u128: deserialize_u128,
    }

    refused! { deserialize_bool deserialize_bytes deserialize_byte_buf }

    // `serde_json` decodes keys of all other types as strings, too.
    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant of an enum: a string, or the key of an object with one value.
struct Variant<'r, 'de> {
    of: &'r mut Deserializer<'de>,
    has_value: bool,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self)> {
        if !self.has_value {
            let variant = seed.deserialize(&mut *self.of)?;
            return Ok((variant, self));
        }
        let variant = seed.deserialize(Key(self.of))?;
        self.of.reader.take(b':')?;
        Ok((variant, self))
    }
}

impl<'r, 'de> Variant<'r, 'de> {
    fn value(self) -> Result<&'r mut Deserializer<'de>> {
        match self.has_value {
            true => Ok(self.of),
            false => Err(Refused),
        }
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Refused;

    fn unit_variant(self) -> Result {
        match self.has_value {
            true => <()>::deserialize(self.of),
            false => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.value()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.value()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.value()?.deserialize_struct("", fields, visitor)
    }
}
