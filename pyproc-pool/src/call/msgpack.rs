//! Encodes and decodes MessagePack payloads. Structs are maps, so that Python sees the names of their fields.

use std::io;

use pyproc_protocol::EncodeError;
use serde::{Serialize, de::DeserializeOwned};

/// Encodes a value in at most `room` bytes.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    room: usize,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Limited {
        bytes: Vec::new(),
        room,
    };
    let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
    match value.serialize(&mut serializer) {
        Ok(()) => Ok(out.bytes),
        Err(rmp_serde::encode::Error::InvalidValueWrite(_)) => {
            Err(EncodeError::TooLarge { max: room })
        }
        Err(error) => Err(EncodeError::MessagePack(error.to_string())),
    }
}

/// Decodes exactly one value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut rest = bytes;
    let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))?;
    match rest.len() {
        0 => Ok(value),
        left => Err(serde::de::Error::custom(format!(
            "{left} bytes follow the value"
        ))),
    }
}

/// A buffer that refuses to grow past `room`, which is its only error.
struct Limited {
    bytes: Vec<u8>,
    room: usize,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn structs_are_maps_and_a_value_too_large_is_broken_off() {
        #[derive(Serialize)]
        struct Point {
            x: u8,
        }
        assert_eq!(encode(&Point { x: 1 }, 4).unwrap(), b"\x81\xa1x\x01");
        let error = encode(&Point { x: 1 }, 3).unwrap_err();
        assert!(matches!(error, EncodeError::TooLarge { max: 3 }), "{error}");
    }

    #[test]
    fn bytes_behind_the_value_are_refused() {
        assert_eq!(decode::<u8>(b"\x05").unwrap(), 5);
        assert!(decode::<u8>(b"\x05garbage").is_err());
        assert!(decode::<BTreeMap<String, u8>>(b"\x81\xa1x").is_err());
    }
}
