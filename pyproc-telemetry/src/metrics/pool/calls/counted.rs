//! One call, from its start to its count.

use std::{cell::RefCell, sync::Arc};

use opentelemetry::trace::SpanContext;
use pyproc_pool::observe::CallEnd;

use super::{
    function::Function,
    functions::{Functions, UNKNOWN},
};

/// A call that has started.
pub(crate) struct Counted(FunctionRef);

enum FunctionRef {
    Known(Arc<Function>),
    /// Whether a worker has listed the function is known only at the call's end.
    New(Box<str>, Arc<Functions>),
}

impl Counted {
    pub(super) fn new(functions: &Arc<Functions>, name: &str) -> Box<Self> {
        take_spare(functions.id, name).unwrap_or_else(|| {
            Box::new(Self(match functions.known(name) {
                Some(function) => FunctionRef::Known(function),
                None => FunctionRef::New(name.into(), Arc::clone(functions)),
            }))
        })
    }

    /// The call has ended. `span` is its span, if that is exported.
    pub(crate) fn count(self: Box<Self>, end: &CallEnd<'_>, span: Option<&SpanContext>) {
        match &self.0 {
            FunctionRef::Known(function) => {
                function.count(end, span);
                keep_spare(self);
            }
            FunctionRef::New(name, functions) => {
                let name = if end.listed { name } else { UNKNOWN };
                let known = functions.known(name);
                let function = known.unwrap_or_else(|| functions.get_or_add(name));
                function.count(end, span);
            }
        }
    }

    fn is_of(&self, registry: u64, name: &str) -> bool {
        match &self.0 {
            FunctionRef::Known(function) => {
                function.registry == registry && *function.name == *name
            }
            FunctionRef::New(..) => false,
        }
    }
}

/// Spare values for one thread: as many calls in flight find one.
const MAX_SPARES: usize = 64;

/// Most threads call few functions, so only the latest spares are searched.
const SEARCHED_SPARES: usize = 4;

thread_local! {
    /// Values of ended calls, for this thread's next calls of the same functions. They save an allocation and a look-up in
    /// the table that all threads share.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    static SPARES: RefCell<Vec<Box<Counted>>> = const { RefCell::new(Vec::new()) };
}

fn take_spare(registry: u64, name: &str) -> Option<Box<Counted>> {
    let found = SPARES.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        let from_end = spares
            .iter()
            .rev()
            .take(SEARCHED_SPARES)
            .position(|it| it.is_of(registry, name))?;
        let index = spares.len() - 1 - from_end;
        Some(spares.swap_remove(index))
    });
    // A thread that ends has no spares any more.
    found.ok().flatten()
}

fn keep_spare(call: Box<Counted>) {
    let _ = SPARES.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        if spares.len() < MAX_SPARES {
            spares.push(call);
        } else if let Some(last) = spares.last_mut() {
            // A thread that now calls other functions finds theirs.
            *last = call;
        }
    });
}
