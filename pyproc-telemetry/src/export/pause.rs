use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::ExportError;

/// The pause between two attempts, which a shutdown interrupts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pause(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    interrupted: bool,
    trouble: Option<ExportError>,
}

impl Pause {
    /// Sleeps until `wake`, because of `trouble`. Returns false if it was interrupted.
    pub(crate) fn until(&self, wake: Instant, trouble: &ExportError) -> bool {
        let mut state = self.lock();
        state.trouble = Some(trouble.clone());
        loop {
            let left = wake.saturating_duration_since(Instant::now());
            if state.interrupted || left == Duration::ZERO {
                return !state.interrupted;
            }
            let woken = self.0.1.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the current sleep, and each later one at once.
    pub(crate) fn interrupt(&self) {
        self.lock().interrupted = true;
        self.0.1.notify_all();
    }

    /// The reason for the last sleep.
    pub(crate) fn trouble(&self) -> Option<ExportError> {
        self.lock().trouble.clone()
    }

    /// Removes the reason.
    pub(crate) fn clear(&self) {
        self.lock().trouble = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
