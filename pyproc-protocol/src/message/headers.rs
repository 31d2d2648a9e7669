use std::collections::BTreeMap;

use crate::MessageError;

/// Metadata of a message, such as the trace context. Left out of the frame when
/// empty.
pub type Headers = BTreeMap<String, String>;

/// The most headers that a message may have.
pub const MAX_HEADERS: usize = 128;

/// The most bytes that all header names and values of a message may take together.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Header of an error response: the exception's qualified name.
pub const ERROR_TYPE: &str = "pyproc-error-type";

/// Header of an error response: the formatted traceback.
pub const ERROR_TRACEBACK: &str = "pyproc-error-traceback";

pub(crate) fn check(headers: &Headers) -> Result<(), MessageError> {
    let count = headers.len();
    if count > MAX_HEADERS {
        return Err(MessageError::TooManyHeaders { count });
    }
    let size = headers.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > MAX_HEADER_BYTES {
        return Err(MessageError::HeadersTooLarge { size });
    }
    Ok(())
}
