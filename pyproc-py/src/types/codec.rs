//! The codecs of payloads: JSON is read and written here, MessagePack by the package, and raw bytes as they are.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};
use pyproc_protocol::Codec;

use super::json::{self, KeyCache};
use crate::ffi::BoundedBuffer;
use crate::package::Package;

/// Documents of at least so many bytes are read with the garbage collector paused.
const PAUSES_COLLECTOR: usize = 8 * 1024;

/// The object that a payload means. Raises `InvalidRequest`.
pub(crate) fn decode<'py>(
    py: Python<'py>,
    package: &Package,
    keys: &mut KeyCache,
    codec: Codec,
    bytes: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    match codec {
        Codec::Json => decode_json(py, package, keys, bytes),
        Codec::Raw => Ok(PyBytes::new(py, bytes).into_any()),
        Codec::MessagePack => package.decode_message_pack(py, PyBytes::new(py, bytes).into_any()),
        Codec::Unknown(number) => Err(unknown_codec(py, package, &number.to_string())),
        _ => Err(unknown_codec(py, package, "of a later version")),
    }
}

fn unknown_codec(py: Python<'_>, package: &Package, codec: &str) -> PyErr {
    let message = format!("codec {codec} of the body is unknown");
    package.error(py, "InvalidRequest", (message,))
}

fn decode_json<'py>(
    py: Python<'py>,
    package: &Package,
    keys: &mut KeyCache,
    json: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    // Without an interpreter lock, other threads would run with the collector paused.
    let decoded = if json.len() < PAUSES_COLLECTOR || cfg!(Py_GIL_DISABLED) {
        json::Decoder::decode(py, json, keys)
    } else {
        let _paused = package.pause_collector(py);
        json::Decoder::decode(py, json, keys)
    };
    decoded.or_else(|json::NotDecoded| package.decode_slowly(py, json))
}

/// Appends a result in a codec. Raises `EncodeError`, also if it is longer than `maximum` bytes, and what conversions
/// raise. After an error the end of `out` is undefined.
pub(crate) fn encode(
    package: &Package,
    codec: Codec,
    result: &Bound<'_, PyAny>,
    maximum: usize,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let bytes = match codec {
        Codec::MessagePack => package.encode_message_pack(result, maximum)?,
        Codec::Raw => package.raw(result, maximum)?,
        _ => return json::encode(result, maximum, out),
    };
    let mut out = BoundedBuffer::new(out, maximum);
    json::append(bytes.as_bytes(), maximum, &mut out, result.py())
}

/// Whether a result is sent as raw bytes.
pub(crate) fn is_binary(result: &Bound<'_, PyAny>) -> bool {
    result.is_instance_of::<PyBytes>()
        || result.is_instance_of::<PyByteArray>()
        || result.is_instance_of::<PyMemoryView>()
}
