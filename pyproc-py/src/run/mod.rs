//! How a call runs: its body becomes the argument, its function runs in a context of its own, the result becomes the
//! answer.
//!
//! Nothing here reads from a socket or decides which call is next. An error of a function, a conversion or a codec
//! becomes the answer; only `SystemExit` and `KeyboardInterrupt` end the worker.
//!
//! | file | idea |
//! | --- | --- |
//! | `answers` | arguments of bodies, answers of results and errors |
//! | `async_calls` | `async def` functions, on the event loop's thread |
//! | `call_context` | the context in which a plain function runs |
//! | `call_info` | headers, trace and channel of a call, as `_calls.current.Call` takes them |
//! | `call_lookup` | finds the call that runs, for code that asks |
//! | `hello` | the answer to a hello |
//! | `hooks` | what the package wants to be called around each call |
//! | `placeholder` | stands for a call in the context variable until code asks for it |
//! | `times` | when a call began, and how long it ran |

pub(crate) mod answers;
pub(crate) mod async_calls;
mod call_context;
mod call_info;
mod call_lookup;
pub(crate) mod hello;
mod hooks;
mod placeholder;
mod times;

pub(crate) use self::call_context::CallContext;
pub(crate) use self::call_lookup::CallLookup;
pub(crate) use self::placeholder::Placeholder;
pub(crate) use self::times::CallClock;
