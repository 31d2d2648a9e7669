use std::sync::{Arc, PoisonError, RwLock};

use tracing::{Metadata, dispatcher, level_filters::LevelFilter, subscriber::Interest};
use tracing_core::callsite;
use tracing_subscriber::layer::{self, Context};

use super::by_target::{Filter, Levels};
use crate::own_dispatch::OwnDispatch;

/// Levels that can be changed while the program runs.
///
/// `tracing` caches the answer for each callsite. So the lock is taken only for a callsite's first event, or while
/// layers disagree.
#[derive(Debug, Clone)]
pub(crate) struct SharedLevels {
    filter: Arc<RwLock<Filter>>,
    own: OwnDispatch,
}

impl SharedLevels {
    pub(crate) fn new(levels: &Levels, own: OwnDispatch) -> Self {
        Self {
            filter: Arc::new(RwLock::new(levels.filter())),
            own,
        }
    }

    pub(crate) fn set(&self, levels: &Levels) {
        let filter = levels.filter();
        *self.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
        // With a single subscriber in the program, `tracing` asks the subscriber of the current thread, which may have
        // none.
        match self.own.get() {
            Some(own) => dispatcher::with_default(&own, callsite::rebuild_interest_cache),
            None => callsite::rebuild_interest_cache(),
        }
    }

    #[cfg(feature = "bunyan")]
    pub(crate) fn logs(&self, metadata: &Metadata<'_>) -> bool {
        self.ask(|filter| filter.logs(metadata))
    }

    fn ask<T>(&self, question: impl FnOnce(&Filter) -> T) -> T {
        question(&self.filter.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> layer::Filter<S> for SharedLevels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.ask(|filter| filter.enables(metadata))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.ask(|filter| filter.enables(metadata)) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.ask(Filter::max_level))
    }
}
