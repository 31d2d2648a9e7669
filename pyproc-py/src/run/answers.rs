//! Arguments of bodies, and answers of results and errors.

use pyo3::prelude::*;
use pyproc_protocol::{Codec, Times};
use pyproc_protocol::{EncodeError, ResponseEncoder, Version};

use crate::package::Package;
use crate::transport::CallBody;
use crate::types;
use crate::types::json::{self, KeyCache};

/// The argument that a body means. Raises `InvalidRequest`.
pub(crate) fn argument<'py>(
    py: Python<'py>,
    package: &Package,
    keys: &mut KeyCache,
    codec: Codec,
    body: &CallBody,
) -> PyResult<Bound<'py, PyAny>> {
    match body {
        CallBody::Object { bytes, .. } => Ok(bytes.bind(py).clone().into_any()),
        CallBody::Frame(bytes) => types::decode(py, package, keys, codec, bytes),
    }
}

/// Appends the answer with a result. Raises `EncodeError`, and what conversions raise;
/// `out` is then unchanged.
pub(crate) fn write_result(
    package: &Package,
    form: ResponseEncoder,
    id: u64,
    codec_of_request: Codec,
    times: Option<Times>,
    result: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let codec = match codec_of_request {
        _ if form.version() == Version::V1 => Codec::Json,
        _ if types::is_binary(result) => Codec::Raw,
        Codec::MessagePack => Codec::MessagePack,
        _ => Codec::Json,
    };
    let frame = match form.begin(id, codec, times, out) {
        Ok(frame) => frame,
        Err(error) => return Err(package.error(result.py(), "EncodeError", (error.to_string(),))),
    };
    if let Err(error) = types::encode(package, codec, result, form.max_frame_size(), out) {
        frame.abandon(out);
        return Err(error);
    }
    frame.finish(form.max_frame_size(), out).map_err(|error| {
        let py = result.py();
        match error {
            EncodeError::TooLarge { max } => json::too_large(py, max),
            other => package.error(py, "EncodeError", (other.to_string(),)),
        }
    })
}

/// A request that has no result.
pub(crate) struct FailedRequest<'a> {
    pub(crate) id: u64,
    /// The function's name.
    pub(crate) method: &'a str,
    /// When it ran, if the client wants that and it ran.
    pub(crate) times: Option<Times>,
}

/// Appends the answer with an error. If the client does not get the traceback, the log does.
pub(crate) fn write_failure(
    py: Python<'_>,
    package: &Package,
    form: ResponseEncoder,
    FailedRequest { id, method, times }: FailedRequest<'_>,
    error: &PyErr,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    if !form.has_error_details() && !package.is_workers_own(py, error) {
        package.log_failure(py, method, error)?;
    }
    let failure = package.failure(py, error)?;
    // The smallest maximum is 1,024 bytes, which is enough for a shortened error.
    let _ = form.encode_failure(id, times, &failure, out);
    Ok(())
}
