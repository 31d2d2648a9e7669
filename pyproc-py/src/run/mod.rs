//! How calls run: bodies become arguments, functions run in a context of their own, results become answers.

pub(crate) mod answers;
pub(crate) mod async_calls;
pub(crate) mod context;
pub(crate) mod hello;
mod hooks;
