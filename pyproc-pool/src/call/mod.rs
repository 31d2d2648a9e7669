//! One call from its caller's side: its request, its encoding, the wait for its answer, the decoding of its result. All
//! of it runs in the caller's task; the scheduler below decides where the call goes. A pending call that is dropped is
//! cancelled.

mod deadlines;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
mod pending;
mod read;
mod request;

pub(crate) use deadlines::Deadlines;
pub use request::CallRequest;
