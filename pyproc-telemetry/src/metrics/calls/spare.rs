//! Handles of functions that this thread has used, for its next calls: cheaper than asking all threads' table.

use std::{cell::RefCell, sync::Arc};

use super::Function;

/// As many as there may be calls in flight that find one.
const KEPT: usize = 64;

/// Threads mostly call few functions, and look no further back.
const LOOKED_AT: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Arc<Function>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn take(registry: u64, name: &str) -> Option<Arc<Function>> {
    let found = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        let is_it = |it: &&Arc<Function>| it.registry == registry && *it.name == *name;
        let back = spare
            .iter()
            .rev()
            .take(LOOKED_AT)
            .position(|it| is_it(&it))?;
        let index = spare.len() - 1 - back;
        Some(spare.swap_remove(index))
    });
    // A thread that ends has none any more.
    found.ok().flatten()
}

pub(super) fn give_back(function: Arc<Function>) {
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(function);
        } else if let Some(last) = spare.last_mut() {
            // Whoever calls other functions now finds theirs.
            *last = function;
        }
    });
}
