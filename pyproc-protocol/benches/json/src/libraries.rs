//! The libraries behind one interface.

use serde::{Serialize, de::DeserializeOwned};
use simd_json::Buffers;

/// Why something could not be read or written.
pub type Error = Box<dyn std::error::Error>;

/// Reads and writes JSON.
pub trait Library: Default {
    /// In tables.
    const NAME: &str;

    /// Reads a value.
    fn read<T: DeserializeOwned>(&mut self, json: &[u8]) -> Result<T, Error>;

    /// Appends a value.
    fn write<T: Serialize>(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), Error>;
}

/// `pyproc-protocol`.
#[derive(Default)]
pub struct Ours;

/// serde's own.
#[derive(Default)]
pub struct SerdeJson;

/// sonic-rs.
#[derive(Default)]
pub struct SonicRs;

/// simd-json, which reads from a buffer that it overwrites: a frame's payload is shared, so it is copied first.
#[derive(Default)]
pub struct SimdJson {
    input: Vec<u8>,
    buffers: Buffers,
}

impl Library for Ours {
    const NAME: &str = "ours";

    fn read<T: DeserializeOwned>(&mut self, json: &[u8]) -> Result<T, Error> {
        Ok(pyproc_protocol::decode_json(json)?)
    }

    fn write<T: Serialize>(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(pyproc_protocol::encode_json(value, u32::MAX as usize, out)?)
    }
}

impl Library for SerdeJson {
    const NAME: &str = "serde_json";

    fn read<T: DeserializeOwned>(&mut self, json: &[u8]) -> Result<T, Error> {
        Ok(serde_json::from_slice(json)?)
    }

    fn write<T: Serialize>(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(serde_json::to_writer(out, value)?)
    }
}

impl Library for SonicRs {
    const NAME: &str = "sonic-rs";

    fn read<T: DeserializeOwned>(&mut self, json: &[u8]) -> Result<T, Error> {
        Ok(sonic_rs::from_slice(json)?)
    }

    fn write<T: Serialize>(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(sonic_rs::to_writer(out, value)?)
    }
}

impl Library for SimdJson {
    const NAME: &str = "simd-json";

    fn read<T: DeserializeOwned>(&mut self, json: &[u8]) -> Result<T, Error> {
        self.input.clear();
        self.input.extend_from_slice(json);
        let (input, buffers) = (&mut self.input, &mut self.buffers);
        Ok(simd_json::serde::from_slice_with_buffers(input, buffers)?)
    }

    fn write<T: Serialize>(&mut self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(simd_json::serde::to_writer(out, value)?)
    }
}
