//! Encodes values with serde.

use serde::{Serialize, ser};

use super::{PRIVATE, Refused, Result, float, text};

/// Appends a value up to the limit `end`. Texts, elements and members check the limit.
pub(super) struct Serializer<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl<'a> Serializer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, end: usize) -> Self {
        Self { out, end }
    }

    #[inline]
    fn need(&self, count: usize) -> Result {
        match self.out.len().checked_add(count) {
            Some(len) if len <= self.end => Ok(()),
            _ => Err(Refused),
        }
    }

    #[inline]
    fn integer(&mut self, number: impl itoa::Integer) -> Result {
        self.out
            .extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        Ok(())
    }

    #[inline]
    fn text(&mut self, text: &str) -> Result {
        self.need(text.len())?;
        text::write(text, self.out);
        Ok(())
    }

    /// `{"variant":`
    fn variant(&mut self, variant: &str) -> Result {
        self.need(variant.len())?;
        let start = self.out.len();
        text::write_key(variant, self.out);
        self.out[start] = b'{';
        Ok(())
    }

    #[inline]
    fn begin<'s>(&'s mut self, ends: [u8; 2]) -> Parts<'s, 'a> {
        Parts {
            start: self.out.len(),
            serializer: self,
            ends,
            in_variant: false,
        }
    }

    fn begin_in_variant<'s>(&'s mut self, variant: &str, ends: [u8; 2]) -> Result<Parts<'s, 'a>> {
        self.variant(variant)?;
        Ok(Parts {
            in_variant: true,
            ..self.begin(ends)
        })
    }
}

const ARRAY: [u8; 2] = *b"[]";
const OBJECT: [u8; 2] = *b"{}";

/// An array or object. Each part follows a comma; the first comma becomes the opening bracket at the end.
pub(super) struct Parts<'s, 'a> {
    serializer: &'s mut Serializer<'a>,
    start: usize,
    ends: [u8; 2],
    /// Whether an object with this as its only member encloses it.
    in_variant: bool,
}

impl Parts<'_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.serializer.need(1)?;
        self.serializer.out.push(b',');
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result {
        self.serializer.need(name.len())?;
        text::write_key(name, self.serializer.out);
        value.serialize(&mut *self.serializer)
    }

    /// Appends a key. A number gets quotes.
    #[inline]
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.serializer.need(1)?;
        self.serializer.out.push(b',');
        let start = self.serializer.out.len();
        key.serialize(&mut *self.serializer)?;
        let out = &mut self.serializer.out;
        match out.get(start) {
            Some(b'"') => Ok(()),
            Some(b'-' | b'0'..=b'9') => {
                out.insert(start, b'"');
                out.push(b'"');
                Ok(())
            }
            _ => Err(Refused),
        }
    }

    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.serializer.out.push(b':');
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn close(self) -> Result {
        let out = &mut self.serializer.out;
        let [first, last] = self.ends;
        match out.get_mut(self.start) {
            Some(comma) => *comma = first,
            None => out.push(first),
        }
        out.push(last);
        if self.in_variant {
            out.push(b'}');
        }
        Ok(())
    }
}

impl<'s, 'a> ser::Serializer for &'s mut Serializer<'a> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Parts<'s, 'a>;
    type SerializeTuple = Parts<'s, 'a>;
    type SerializeTupleStruct = Parts<'s, 'a>;
    type SerializeTupleVariant = Parts<'s, 'a>;
    type SerializeMap = Parts<'s, 'a>;
    type SerializeStruct = Parts<'s, 'a>;
    type SerializeStructVariant = Parts<'s, 'a>;

    #[inline]
    fn serialize_bool(self, value: bool) -> Result {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(word);
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result {
        self.integer(value)
    }

    fn serialize_i128(self, value: i128) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result {
        self.integer(value)
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result {
        self.integer(value)
    }

    fn serialize_u128(self, value: u128) -> Result {
        self.integer(value)
    }

    fn serialize_f32(self, value: f32) -> Result {
        if !value.is_finite() {
            return self.serialize_unit();
        }
        self.out
            .extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result {
        float::write(value, self.out);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result {
        value.serialize(self)
    }

    #[inline]
    fn serialize_none(self) -> Result {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, it: &'static str) -> Result {
        self.text(it)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.out.push(b'}');
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq> {
        Ok(self.begin(ARRAY))
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple> {
        Ok(self.begin(ARRAY))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct> {
        Ok(self.begin(ARRAY))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        self.begin_in_variant(variant, ARRAY)
    }

    #[inline]
    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap> {
        Ok(self.begin(OBJECT))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Self::SerializeStruct> {
        if name.starts_with(PRIVATE) {
            return Err(Refused);
        }
        Ok(self.begin(OBJECT))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant> {
        self.begin_in_variant(variant, OBJECT)
    }
}

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.key(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.value(value)
    }

    #[inline]
    fn end(self) -> Result {
        self.close()
    }
}

macro_rules! elements {
    ($($kind:ident $method:ident),*) => {$(
        impl ser::$kind for Parts<'_, '_> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                self.element(value)
            }

            #[inline]
            fn end(self) -> Result {
                self.close()
            }
        }
    )*};
}

macro_rules! fields {
    ($($kind:ident),*) => {$(
        impl ser::$kind for Parts<'_, '_> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result {
                self.field(name, value)
            }

            #[inline]
            fn end(self) -> Result {
                self.close()
            }
        }
    )*};
}

elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);
fields!(SerializeStruct, SerializeStructVariant);
