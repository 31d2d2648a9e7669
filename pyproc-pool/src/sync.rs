//! The locks and threads of the hand-over between callers and connections.
//!
//! They are those of the standard library. Only the test of interleavings replaces them by shuttle's, which run one thread
//! at a time in an order that a seed decides (`cargo xtask interleavings`).

#[cfg(not(all(test, shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
