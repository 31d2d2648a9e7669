//! The scrapes of `/metrics`. A thread writes them one after another, and ends when no scrape waits.

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

/// The longest time of a scrape while others wait.
const MAX_SCRAPE: Duration = Duration::from_secs(10);

/// The longest stall of a reader while one other scrape waits. With more waiting it is divided by their number.
const MAX_STALL: Duration = Duration::from_secs(1);

/// The scrapes that wait.
#[derive(Clone, Default)]
pub(super) struct ScrapeQueue(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Exposition, Writer)>,
    /// Whether a thread serves the queue.
    has_thread: bool,
}

impl ScrapeQueue {
    /// Queues a scrape. It is written when its turn comes.
    ///
    /// # Errors
    ///
    /// The system gave no thread.
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
        // Scrapes without a reader are dropped, also while a collector blocks the thread.
        queue.drop_unread();
        queue.waiting.push_back((exposition, writer));
        Ok(reader)
    }

    fn run(&self) {
        while let Some((exposition, mut writer)) = self.next() {
            let (turns, began) = (self.clone(), Instant::now());
            writer.set_patience(move |stalled| match turns.waiting() {
                0 => true,
                waiting => began.elapsed() < MAX_SCRAPE && stalled < MAX_STALL / waiting,
            });
            // A collector's panic ends only its own scrape.
            let _ = catch_unwind(AssertUnwindSafe(move || write(&exposition, writer)));
        }
    }

    fn next(&self) -> Option<(Exposition, Writer)> {
        let mut queue = self.lock();
        queue.drop_unread();
        let next = queue.waiting.pop_front();
        queue.has_thread = next.is_some();
        next
    }

    fn waiting(&self) -> u32 {
        let queue = self.lock();
        let waiting = queue.waiting.iter().filter(|(_, it)| it.is_read());
        u32::try_from(waiting.count()).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Drops scrapes whose reader is gone.
    fn drop_unread(&mut self) {
        self.waiting.retain(|(_, writer)| writer.is_read());
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
        let turns = ScrapeQueue::default();
        let readers = [true, false, true, false].map(|panics| {
            let scrape = exposition(move || assert!(!panics, "the collector's own"));
            turns.scrape(scrape).unwrap()
        });
        assert_eq!(readers.map(is_whole), [false, true, false, true]);
    }

    #[test]
    fn nothing_is_kept_for_readers_that_are_gone_while_a_collector_blocks() {
        let turns = ScrapeQueue::default();
        let (goes_on, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let blocked = exposition(move || {
            let _ = wait.lock().unwrap().recv();
        });
        let first = turns.scrape(blocked).unwrap();
        for _ in 0..100 {
            drop(turns.scrape(exposition(|| panic!("it has no turn"))));
        }
        assert!(turns.lock().waiting.len() <= 2);
        assert!(turns.waiting() <= 1);
        drop(goes_on);
        assert!(is_whole(first));
    }

    #[test]
    fn a_scrape_whose_reader_is_gone_is_not_written_and_an_unread_one_blocks_no_other() {
        let turns = ScrapeQueue::default();
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
