//! How bodies become arguments, and results and errors become answers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};
use pyproc_protocol::v2::{Codec, Times};
use pyproc_protocol::{AnswerForm, EncodeError, Version};

use crate::ffi::Bounded;
use crate::package::Package;
use crate::transport::CallBody;
use crate::types::json::{self, Keys};

/// Documents from here on are read with the garbage collector paused.
const COLLECTOR_PAYS: usize = 8 * 1024;

/// The argument that a body means. Raises `InvalidRequest`.
pub(crate) fn argument<'py>(
    py: Python<'py>,
    package: &Package,
    keys: &mut Keys,
    codec: Codec,
    body: &CallBody,
) -> PyResult<Bound<'py, PyAny>> {
    let bytes = match body {
        CallBody::Object { bytes, .. } => return Ok(bytes.bind(py).clone().into_any()),
        CallBody::Frame(bytes) => bytes,
    };
    match codec {
        Codec::Json => document(py, package, keys, bytes),
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

fn document<'py>(
    py: Python<'py>,
    package: &Package,
    keys: &mut Keys,
    json: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    // Without an interpreter lock, other threads' code would see that it is paused.
    let decoded = if json.len() < COLLECTOR_PAYS || cfg!(Py_GIL_DISABLED) {
        json::Decoder::decode(py, json, keys)
    } else {
        let _paused = package.pause_collector(py);
        json::Decoder::decode(py, json, keys)
    };
    decoded.or_else(|json::Odd| package.decode_slowly(py, json))
}

/// Appends the answer that carries a result. Raises `EncodeError`, and what conversions raise;
/// `out` is then as before.
pub(crate) fn success(
    package: &Package,
    form: AnswerForm,
    id: u64,
    asked_in: Codec,
    times: Option<Times>,
    result: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let codec = match asked_in {
        _ if form.version() == Version::V1 => Codec::Json,
        _ if is_binary(result) => Codec::Raw,
        Codec::MessagePack => Codec::MessagePack,
        _ => Codec::Json,
    };
    let frame = match form.begin(id, codec, times, out) {
        Ok(frame) => frame,
        Err(error) => return Err(package.error(result.py(), "EncodeError", (error.to_string(),))),
    };
    if let Err(error) = payload(package, codec, result, form.max_frame_size(), out) {
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

fn payload(
    package: &Package,
    codec: Codec,
    result: &Bound<'_, PyAny>,
    maximum: usize,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let (py, bytes) = match codec {
        Codec::MessagePack => (result.py(), package.encode_message_pack(result, maximum)?),
        Codec::Raw => (result.py(), package.raw(result, maximum)?),
        _ => return json::encode(result, maximum, out),
    };
    json::append(
        bytes.as_bytes(),
        maximum,
        &mut Bounded::new(out, maximum),
        py,
    )
}

fn is_binary(result: &Bound<'_, PyAny>) -> bool {
    result.is_instance_of::<PyBytes>()
        || result.is_instance_of::<PyByteArray>()
        || result.is_instance_of::<PyMemoryView>()
}

/// A request that has no result.
pub(crate) struct Failed<'a> {
    pub(crate) id: u64,
    /// The function's name.
    pub(crate) method: &'a str,
    /// When it ran, if that is wanted and it did.
    pub(crate) times: Option<Times>,
}

/// Appends the answer that tells of an error.
pub(crate) fn failure(
    py: Python<'_>,
    package: &Package,
    form: AnswerForm,
    Failed { id, method, times }: Failed<'_>,
    error: &PyErr,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    if !form.has_details() && !package.is_workers_own(py, error) {
        package.log_failure(py, method, error)?;
    }
    let failure = package.failure(py, error)?;
    // The smallest maximum is 1,024 bytes: a note fits.
    let _ = form.write_failure(id, times, &failure, out);
    Ok(())
}

/// How long a time of day tells later ones: as long as a clock that is set may be off.
const TELLS: Duration = Duration::from_millis(10);

/// The clocks of functions, which ask for the time of day but rarely.
#[derive(Default)]
pub(crate) struct Clocks {
    /// A time of day, and when it was.
    known: Option<(Duration, Instant)>,
}

impl Clocks {
    /// A function begins.
    pub(crate) fn start(&mut self) -> Stopwatch {
        let began = Instant::now();
        let told = self.known.and_then(|(time, when)| {
            let since = began - when;
            (since < TELLS).then(|| time + since)
        });
        let start = told.unwrap_or_else(|| self.look(began));
        Stopwatch { start, began }
    }

    #[cold]
    fn look(&mut self, now: Instant) -> Duration {
        let time = time_of_day();
        self.known = Some((time, now));
        time
    }
}

/// Since the Unix epoch.
fn time_of_day() -> Duration {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.unwrap_or_default()
}

/// When a function began.
pub(crate) struct Stopwatch {
    start: Duration,
    began: Instant,
}

impl Stopwatch {
    /// When it ran, if it has ended at this moment.
    pub(crate) fn times(&self, ended: Instant) -> Times {
        Times {
            start: self.start,
            duration: ended - self.began,
        }
    }
}
