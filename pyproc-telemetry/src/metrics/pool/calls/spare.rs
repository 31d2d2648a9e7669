//! Counted calls that have ended, for this thread's next calls of the same functions: their memory and their function's handle cost
//! less so than those of an allocator and of all threads' table.

use std::cell::RefCell;

use super::Counted;

/// As many as there may be calls in flight that find one.
const KEPT: usize = 64;

/// Threads mostly call few functions, and look no further back.
const LOOKED_AT: usize = 4;

thread_local! {
    #[expect(clippy::vec_box, reason = "what is kept are the boxes")]
    static SPARE: RefCell<Vec<Box<Counted>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn take(registry: u64, name: &str) -> Option<Box<Counted>> {
    let found = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        let back = spare
            .iter()
            .rev()
            .take(LOOKED_AT)
            .position(|it| it.is_of(registry, name))?;
        let index = spare.len() - 1 - back;
        Some(spare.swap_remove(index))
    });
    // A thread that ends has none any more.
    found.ok().flatten()
}

pub(super) fn give_back(call: Box<Counted>) {
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(call);
        } else if let Some(last) = spare.last_mut() {
            // Whoever calls other functions now finds theirs.
            *last = call;
        }
    });
}
