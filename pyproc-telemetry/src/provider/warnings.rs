//! Warnings about settings. The log may be set up after the provider, so they are logged once there is a log.

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

/// Warnings, each of which is logged once, when one of the calls below finds a subscriber.
#[derive(Default)]
pub(crate) struct Warnings {
    texts: OnceLock<Vec<String>>,
    are_logged: AtomicBool,
}

impl Warnings {
    /// Sets all warnings. Only the first call has an effect.
    pub(crate) fn set(&self, texts: Vec<String>) {
        let _ = self.texts.set(texts);
        self.log_once();
    }

    pub(crate) fn texts(&self) -> &[String] {
        self.texts.get().map_or(&[], Vec::as_slice)
    }

    /// Logs the warnings, unless they are logged already or there is no subscriber yet. A span's start or end must not
    /// call this: both happen within the subscriber, under its locks.
    pub(crate) fn log_once(&self) {
        let Some(texts) = self.texts.get() else {
            return;
        };
        let has_log = || dispatcher::get_default(|it| !it.is::<NoSubscriber>());
        let are_logged = self.are_logged.load(Ordering::Relaxed);
        if are_logged || !has_log() || self.are_logged.swap(true, Ordering::Relaxed) {
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

/// An exporter that logs the warnings before each batch, on its own thread.
pub(crate) struct WarningExporter<E> {
    exporter: E,
    warnings: Arc<Warnings>,
}

impl<E> WarningExporter<E> {
    pub(crate) fn new(exporter: E, warnings: &Arc<Warnings>) -> Self {
        Self {
            exporter,
            warnings: Arc::clone(warnings),
        }
    }
}

impl<E: Exporter> Exporter for WarningExporter<E> {
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered {
        self.warnings.log_once();
        self.exporter.export(batch, deadline, pause)
    }

    fn close(&mut self) {
        self.exporter.close();
    }
}
