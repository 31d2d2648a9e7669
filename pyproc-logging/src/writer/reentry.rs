//! Events from the code of an output.

use std::cell::Cell;

thread_local! {
    /// Whether this thread runs the code of an output. Events of that code are ignored, as they would cause more of
    /// themselves without end, or wait for their own lock.
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

/// Whether this thread runs the code of an output.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}
