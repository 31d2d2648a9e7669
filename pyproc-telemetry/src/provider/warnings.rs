//! What was odd about the settings, on its way to the log, which may be set up after the provider.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tracing::{dispatcher, subscriber::NoSubscriber};

use crate::export::{Ended, Exporter, Pause, Undelivered};

/// Warnings, each of which is logged once: as soon as there is a subscriber where somebody looks.
#[derive(Default)]
pub(crate) struct Warnings {
    texts: OnceLock<Vec<String>>,
    are_said: AtomicBool,
}

impl Warnings {
    /// All there are. Only the first call counts.
    pub(crate) fn set(&self, texts: Vec<String>) {
        let _ = self.texts.set(texts);
        self.say();
    }

    pub(crate) fn texts(&self) -> &[String] {
        self.texts.get().map_or(&[], Vec::as_slice)
    }

    /// Logs them, unless that was done, or there is no log yet. Not to be called by a span's start or end: these happen
    /// within the subscriber, under its locks.
    pub(crate) fn say(&self) {
        let Some(texts) = self.texts.get() else {
            return;
        };
        let has_log = || dispatcher::get_default(|it| !it.is::<NoSubscriber>());
        let are_said = self.are_said.load(Ordering::Relaxed);
        if are_said || !has_log() || self.are_said.swap(true, Ordering::Relaxed) {
            return;
        }
        for text in texts {
            tracing::warn!("{text}");
        }
    }
}

impl fmt::Debug for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

/// An exporter that looks for a log before each batch, on its own thread.
pub(crate) struct Warning<E> {
    exporter: E,
    warnings: Arc<Warnings>,
}

impl<E> Warning<E> {
    pub(crate) fn new(exporter: E, warnings: &Arc<Warnings>) -> Self {
        Self {
            exporter,
            warnings: Arc::clone(warnings),
        }
    }
}

impl<E: Exporter> Exporter for Warning<E> {
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered {
        self.warnings.say();
        self.exporter.export(batch, deadline, pause)
    }

    fn close(&mut self) {
        self.exporter.close();
    }
}
