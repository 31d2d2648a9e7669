//! The way of lines to their output.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    io::{self, Write},
    sync::{
        Arc, Barrier,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use pyproc_logging::{LogFormat, LoggingBuilder, LoggingGuard, LoggingStats};
use support::Capture;
use tracing::{Dispatch, dispatcher::with_default, info, info_span};
use tracing_subscriber::{Registry, layer::SubscriberExt};

const LONG: Duration = Duration::from_secs(30);

/// Says when it is written to, and does so only when told.
struct Gate {
    entered: Sender<()>,
    open: Receiver<()>,
    capture: Capture,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        // An error means that the test has ended; then all may pass.
        let _ = self.open.recv();
        self.capture.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gated {
    dispatch: Dispatch,
    guard: LoggingGuard,
    capture: Capture,
    entered: Receiver<()>,
    open: Sender<()>,
}

impl Gated {
    fn new(builder: LoggingBuilder) -> Self {
        let (entered_tx, entered) = mpsc::channel();
        let (open, open_rx) = mpsc::channel();
        let capture = Capture::default();
        let gate = Gate {
            entered: entered_tx,
            open: open_rx,
            capture: capture.clone(),
        };
        let (layer, guard) = builder.writer(gate).layer::<Registry>().unwrap();
        Self {
            dispatch: Dispatch::new(Registry::default().with(layer)),
            guard,
            capture,
            entered,
            open,
        }
    }

    fn log(&self, numbers: std::ops::Range<u32>) {
        with_default(&self.dispatch, || {
            numbers.for_each(|number| info!(number, "m"))
        });
    }

    /// Returns when the output has the first line and takes no more.
    fn block(&self) {
        self.log(0..1);
        self.entered.recv_timeout(LONG).unwrap();
    }

    fn stats(&self) -> LoggingStats {
        self.guard.handle().stats()
    }

    fn let_everything_pass(&mut self) {
        // Without its sender the gate stands open.
        self.open = mpsc::channel().0;
        assert!(self.guard.handle().flush(LONG));
    }
}

#[test]
fn what_finds_no_room_is_dropped_counted_exactly_and_said_in_one_line() {
    let mut gated = Gated::new(LoggingBuilder::default().queue_lines(10));
    gated.block();
    gated.log(1..40);
    assert_eq!(gated.stats().dropped, 30);
    gated.let_everything_pass();
    gated.log(40..42);
    gated.let_everything_pass();

    let lines = gated.capture.objects();
    let numbers: Vec<_> = lines
        .iter()
        .map(|line| line.get("number").and_then(|n| n.as_u64()))
        .collect();
    let mut expected: Vec<_> = (0..10).map(Some).collect();
    expected.extend([None, Some(40), Some(41)]);
    assert_eq!(numbers, expected);
    assert_eq!(lines[10].keys(), ["time", "level", "msg", "dropped_lines"]);
    assert_eq!(lines[10].text("level"), "WARN");
    assert_eq!(lines[10].get("dropped_lines").unwrap(), 30);
    let stats = gated.stats();
    assert_eq!((stats.written, stats.dropped, stats.failed), (12, 30, 0));
}

#[test]
fn bytes_have_a_limit_too_and_a_line_beyond_it_is_said_at_once() {
    let builder = LoggingBuilder::default().queue_bytes(4096);
    let mut gated = Gated::new(builder);
    with_default(&gated.dispatch, || info!(text = "x".repeat(5000), "m"));
    gated.let_everything_pass();
    gated.entered.recv_timeout(LONG).unwrap();
    assert_eq!(gated.stats().dropped, 1);
    gated.log(1..2);
    gated.let_everything_pass();
    let lines = gated.capture.objects();
    assert_eq!(lines[0].get("dropped_lines").unwrap(), 1);
    assert_eq!(lines[1].get("number").unwrap(), 1);
}

/// The first line, and the one about two that were dropped.
fn dropped_two(builder: LoggingBuilder) -> Capture {
    let mut gated = Gated::new(builder.queue_lines(1));
    gated.block();
    gated.log(1..3);
    gated.let_everything_pass();
    // The end writes also what is said about dropped lines.
    drop(gated.guard);
    gated.capture
}

#[test]
fn in_text_the_line_about_dropped_ones_is_text() {
    let lines = dropped_two(LoggingBuilder::default().format(LogFormat::Text)).lines();
    let start = " WARN pyproc_logging: log lines were dropped";
    assert!(lines[1].contains(start), "{}", lines[1]);
    assert!(lines[1].ends_with(" dropped_lines=2"), "{}", lines[1]);
}

#[cfg(feature = "bunyan")]
#[test]
fn in_bunyan_the_line_about_dropped_ones_is_one_of_bunyan() {
    let builder = LoggingBuilder::default()
        .format(LogFormat::Bunyan)
        .name("svc");
    let lines = dropped_two(builder).objects();
    for key in ["v", "name", "hostname", "pid"] {
        assert_eq!(lines[0].get(key), lines[1].get(key), "{key}");
    }
    assert_eq!(lines[1].get("level").unwrap(), 40);
    assert_eq!(lines[1].get("dropped_lines").unwrap(), 2);
}

#[test]
fn the_end_of_the_guard_loses_nothing() {
    let (dispatch, guard, capture) = support::subscriber(LoggingBuilder::default());
    with_default(&dispatch, || {
        (0..10_000).for_each(|number| info!(number, "m"))
    });
    let handle = guard.handle();
    drop(guard);
    assert_eq!(capture.lines().len(), 10_000);
    with_default(&dispatch, || info!("too late"));
    assert_eq!(capture.lines().len(), 10_000);
    assert_eq!(handle.stats().dropped, 1);
}

#[test]
fn an_output_that_hangs_holds_up_neither_callers_nor_the_end() {
    let gated = Gated::new(LoggingBuilder::default().flush_timeout(Duration::from_millis(20)));
    gated.block();
    gated.log(1..100);
    assert!(!gated.guard.handle().flush(Duration::from_millis(20)));
    // Would never return if it waited for the gate, which is shut.
    drop(gated.guard);
    assert_eq!(gated.capture.text(), "");
}

#[test]
fn without_a_queue_a_line_is_written_when_the_event_returns() {
    let (dispatch, guard, capture) = support::subscriber(LoggingBuilder::default().queue_lines(0));
    with_default(&dispatch, || {
        for count in 1..=3 {
            info!("m");
            assert_eq!(capture.lines().len(), count);
        }
    });
    assert_eq!(guard.handle().stats().written, 3);
}

#[test]
fn what_the_output_refuses_is_counted_and_the_rest_goes_on() {
    struct FailsOnce(bool, Capture);
    impl Write for FailsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.0) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let capture = Capture::default();
    let (layer, guard) = LoggingBuilder::default()
        .writer(FailsOnce(true, capture.clone()))
        .layer()
        .unwrap();
    let dispatch = Dispatch::new(Registry::default().with(layer));
    for number in 0..2 {
        with_default(&dispatch, || info!(number, "m"));
        assert!(guard.handle().flush(LONG));
    }
    let stats = guard.handle().stats();
    assert_eq!((stats.written, stats.failed, stats.dropped), (1, 1, 0));
    assert_eq!(capture.objects()[0].get("number").unwrap(), 1);
}

#[test]
fn an_output_that_panics_ends_the_log_and_nothing_else() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("on purpose")
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (layer, guard) = LoggingBuilder::default().writer(Panics).layer().unwrap();
    let dispatch = Dispatch::new(Registry::default().with(layer));
    with_default(&dispatch, || info!("m"));
    assert!(!guard.handle().flush(LONG));
    with_default(&dispatch, || info!("m"));
    assert_eq!(guard.handle().stats().dropped, 1);
}

#[test]
fn lines_of_many_threads_never_mix() {
    const THREADS: u32 = 8;
    const LINES: u32 = 500;
    let (dispatch, guard, capture) = support::subscriber(LoggingBuilder::default());
    let start = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (dispatch, start) = (dispatch.clone(), Arc::clone(&start));
            thread::spawn(move || {
                with_default(&dispatch, || {
                    let _span = info_span!("s", thread).entered();
                    start.wait();
                    (0..LINES).for_each(|number| info!(number, text = "é\n".repeat(50), "m"));
                });
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    drop(guard);

    let mut next = [0; THREADS as usize];
    for line in capture.objects() {
        let number = |key| line.get(key).unwrap().as_u64().unwrap();
        let next = &mut next[number("thread") as usize];
        assert_eq!(number("number"), *next);
        *next += 1;
        assert_eq!(line.text("text"), "é\n".repeat(50));
    }
    assert_eq!(next, [u64::from(LINES); THREADS as usize]);
}
