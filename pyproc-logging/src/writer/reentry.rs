//! Events of an output's own code.

use std::cell::Cell;

thread_local! {
    /// Whether this thread is in the code of an output. What that logs is ignored, as it would feed itself
    /// without end, or wait for its own lock.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn while_writing<T>(write: impl FnOnce() -> T) -> T {
    /// Also after a panic.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            WRITING.set(false);
        }
    }
    WRITING.set(true);
    let _reset = Reset;
    write()
}

/// Whether this thread is in the code of an output.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}
