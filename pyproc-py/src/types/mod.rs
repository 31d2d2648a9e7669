//! Payloads become Python objects, and Python objects become payloads.
//!
//! Nothing here knows of calls, frames or connections. A result is never longer than the maximum that the caller gives.
//!
//! | file | idea |
//! | --- | --- |
//! | `codec` | JSON, MessagePack or raw bytes |
//! | `json/` | JSON straight into objects, and back |

mod codec;
pub(crate) mod json;

pub(crate) use self::codec::{decode, encode, is_binary};
