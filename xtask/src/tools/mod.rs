//! What the commands share: child processes, interpreters, environments, and tools that they need. Nothing here knows a
//! command.

pub(crate) mod native;
pub(crate) mod prerequisite;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod python;
pub(crate) mod venv;
pub(crate) mod workspace;
