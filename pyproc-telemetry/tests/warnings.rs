//! Warnings about settings reach a log that is set up after the provider: needs a process of its own, for the log of all threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry::trace::{Span, Tracer};
use pyproc_telemetry::{ExporterType, Provider};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn warnings(&self) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.matches("an address of Jaeger's old protocol").count()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// With an address that nobody listens at, and that needs a warning.
fn provider() -> Provider {
    Provider::builder()
        .enabled(true)
        .exporter_type(ExporterType::Jaeger)
        .endpoint("http://127.0.0.1:14250")
        .timeout(Duration::from_millis(1))
        .shutdown_timeout(Duration::from_secs(30))
        .start()
        .unwrap()
}

#[test]
fn warnings_are_logged_once_by_whoever_sees_the_log_first() {
    // Scoped logs are those of the thread that asks for a tracer.
    let (before, scoped) = (Kept::default(), Kept::default());
    let subscriber = |kept: &Kept| tracing_subscriber::fmt().with_writer(kept.clone()).finish();
    tracing::subscriber::with_default(subscriber(&before), || provider().shutdown_blocking()).ok();
    assert_eq!(before.warnings(), 1);

    let with_tracer = provider();
    with_tracer.tracer("early");
    assert_eq!(with_tracer.warnings().len(), 1);
    tracing::subscriber::with_default(subscriber(&scoped), || {
        with_tracer.tracer("shop");
        with_tracer.tracer("shop");
    });
    assert_eq!(scoped.warnings(), 1);

    // The log of the whole program: the exporter's thread sees it, too.
    let (only_spans, shut_down) = (provider(), provider());
    let tracer = only_spans.tracer("early");
    let global = Kept::default();
    tracing::subscriber::set_global_default(subscriber(&global)).unwrap();
    assert_eq!(global.warnings(), 0);
    tracer.start("work").end();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while global.warnings() == 0 {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    drop(shut_down);
    assert_eq!(global.warnings(), 2);
    drop(only_spans);
    drop(with_tracer);
    assert_eq!(global.warnings(), 2);
}
