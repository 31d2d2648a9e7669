//! Answers to `/metrics`, written one after another by a thread, which lasts as long as somebody waits.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use prometheus::Error;

use super::pipe::{Reader, Writer, pipe};
use crate::metrics::exposition::Exposition;

/// How long a scrape may take while others wait for their turn.
const TURN: Duration = Duration::from_secs(10);

/// How long its reader may stall while one other waits; less if there are more.
const STALL: Duration = Duration::from_secs(1);

/// Scrapes that wait for their turn.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Exposition, Writer)>,
    /// There is a thread that takes them.
    has_thread: bool,
}

impl Turns {
    /// Writes it when its turn comes, whether or not it is read by then.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub(super) fn scrape(&self, exposition: Exposition) -> io::Result<Reader> {
        let (writer, reader) = pipe();
        let mut queue = self.lock();
        if !queue.has_thread {
            let turns = self.clone();
            thread::Builder::new()
                .name("pyproc-metrics".into())
                .spawn(move || turns.run())?;
            queue.has_thread = true;
        }
        queue.waiting.push_back((exposition, writer));
        Ok(reader)
    }

    fn run(&self) {
        while let Some((exposition, mut writer)) = self.next() {
            let (turns, began) = (self.clone(), Instant::now());
            writer.set_patience(move |stalled| match turns.waiting() {
                0 => true,
                waiting => began.elapsed() < TURN && stalled < STALL / waiting,
            });
            // A collector's panic is its scrape's end, and no other's.
            let _ = catch_unwind(AssertUnwindSafe(|| write(&exposition, writer)));
        }
    }

    fn next(&self) -> Option<(Exposition, Writer)> {
        let mut queue = self.lock();
        // Who does not wait any more has no turn.
        queue.waiting.retain(|(_, writer)| writer.is_read());
        let next = queue.waiting.pop_front();
        queue.has_thread = next.is_some();
        next
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.lock().waiting.len()).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(exposition: &Exposition, mut writer: Writer) {
    let written = exposition.write_to(&mut writer);
    match written.and_then(|()| Ok(writer.finish()?)) {
        Ok(()) => {}
        Err(Error::Io(error)) => tracing::debug!(%error, "a scrape ended early"),
        Err(error) => tracing::warn!(%error, "the metrics could not be written"),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::mpsc};

    use futures_executor::block_on;
    use prometheus::{
        IntCounter, Registry,
        core::{Collector, Desc},
        proto::MetricFamily,
    };

    use super::*;
    use crate::{Exemplars, MetricsFormat, metrics::exposition::MAX_BYTES};

    /// Does something at each scrape.
    struct Scraped<F>(IntCounter, F);

    impl<F: Fn() + Send + Sync> Collector for Scraped<F> {
        fn desc(&self) -> Vec<&Desc> {
            self.0.desc()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            (self.1)();
            self.0.collect()
        }
    }

    fn exposition(scraped: impl Fn() + Send + Sync + 'static) -> Exposition {
        let registry = Registry::new();
        let jobs = IntCounter::new("jobs_total", "Jobs.").unwrap();
        registry.register(Box::new(Scraped(jobs, scraped))).unwrap();
        Exposition {
            registry,
            exemplars: Exemplars::default(),
            format: MetricsFormat::Text,
            max_bytes: MAX_BYTES,
        }
    }

    fn is_whole(mut reader: Reader) -> bool {
        loop {
            match block_on(poll_fn(|cx| reader.poll_next(cx))) {
                None => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
            }
        }
    }

    #[test]
    fn a_collector_that_panics_ends_its_scrape_and_no_other() {
        let turns = Turns::default();
        let readers = [true, false, true, false].map(|panics| {
            let scrape = exposition(move || assert!(!panics, "the collector's own"));
            turns.scrape(scrape).unwrap()
        });
        assert_eq!(readers.map(is_whole), [false, true, false, true]);
    }

    #[test]
    fn who_waits_no_more_has_no_turn_and_one_that_is_not_read_holds_nobody_up() {
        let turns = Turns::default();
        let (goes_on, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let first = exposition(move || {
            let _ = wait.lock().unwrap().recv();
        });
        let unread = turns.scrape(first).unwrap();
        let gone = turns.scrape(exposition(|| panic!("it has no turn")));
        drop(gone.unwrap());
        let last = turns.scrape(exposition(|| {})).unwrap();
        drop(goes_on);
        assert!(is_whole(last));
        drop(unread);
    }
}
