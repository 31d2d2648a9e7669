use std::sync::{Arc, OnceLock};

use tracing::Subscriber;
use tracing_core::dispatcher::{Dispatch, WeakDispatch};
use tracing_subscriber::Layer;

/// The subscriber that a log is part of.
///
/// `tracing` does not give access to it while it handles an event, nor in a thread with another subscriber.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnDispatch(Arc<OnceLock<WeakDispatch>>);

impl OwnDispatch {
    pub(crate) fn get(&self) -> Option<Dispatch> {
        self.0.get()?.upgrade()
    }
}

impl<S: Subscriber> Layer<S> for OwnDispatch {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.0.set(dispatch.downgrade());
    }
}
