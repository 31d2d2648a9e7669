//! One file for each command. A command may run others, as `ci` does.

pub(crate) mod bench;
pub(crate) mod chaos;
pub(crate) mod ci;
pub(crate) mod compat_test;
pub(crate) mod conformance;
pub(crate) mod demo;
pub(crate) mod fuzz;
pub(crate) mod interleavings;
pub(crate) mod quick_start;
pub(crate) mod test;
