use std::collections::BTreeMap;

use crate::{MAX_HEADER_BYTES, MAX_HEADERS, MessageError};

/// Metadata of a message, such as the trace context. The frame leaves them out if there are none.
pub type Headers = BTreeMap<String, String>;

/// Header of an error response: the exception's qualified name.
pub const ERROR_TYPE: &str = "pyproc-error-type";

/// Header of an error response: the formatted traceback.
pub const ERROR_TRACEBACK: &str = "pyproc-error-traceback";

/// Checks the limits on headers.
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
