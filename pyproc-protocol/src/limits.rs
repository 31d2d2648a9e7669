//! The bounds on everything that a peer can send.

/// Maximum size of a frame's body in bytes, unless it is set otherwise: 10 MiB, as in the first release of the
/// protocol.
pub const DEFAULT_MAX_FRAME_SIZE: usize = 10 * 1024 * 1024;

/// Largest id of a request: 2^53 − 1, the largest integer that every JSON reader keeps exactly.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// Maximum number of headers of a message.
pub const MAX_HEADERS: usize = 128;

/// Maximum size in bytes of all header names and values of a message together.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Maximum number of functions that a worker may list.
pub const MAX_FUNCTIONS: usize = 4096;

/// Largest body that the length prefix of a frame can announce, in bytes.
pub(crate) const LARGEST_BODY: usize = u32::MAX as usize;
