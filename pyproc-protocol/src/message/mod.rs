mod headers;

pub(crate) use headers::check;
pub use headers::{ERROR_TRACEBACK, ERROR_TYPE, Headers, MAX_HEADER_BYTES, MAX_HEADERS};
