//! MessagePack payloads. Structs are maps, so that Python sees their fields' names.

use std::io;

use pyproc_protocol::EncodeError;
use serde::{Serialize, de::DeserializeOwned};

/// Writes a value in at most `room` bytes.
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
        Err(error) => Err(EncodeError::Json(serde::ser::Error::custom(error))),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// Refuses to grow past `room`, which is the only way in which it fails.
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
