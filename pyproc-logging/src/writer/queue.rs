use std::{
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{counts::Counts, output::Output, reentry::while_writing};

/// Writes the line with the number of dropped lines.
pub(crate) type Notice = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

/// Limits of the lines that wait for the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// How long lines are collected after a batch was written. The first line after a longer silence is written at once.
const PAUSE: Duration = Duration::from_millis(1);

/// A larger buffer is freed after a burst.
const KEPT_BYTES: usize = 1 << 20;

/// The queue to the thread that writes lines.
///
/// One buffer has all waiting lines, and that thread swaps it for an empty one. A line costs a copy under a short lock,
/// and all waiting lines are one write.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    limits: Limits,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when there are lines to write, or the queue is closed.
    work: Condvar,
    /// Notified when a batch is written, or the thread has ended.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    waiting_lines: usize,
    /// Size of the batch that is being written.
    writing_bytes: usize,
    writing_lines: usize,
    /// Dropped lines that are not reported yet.
    unreported: u64,
    /// Accepted lines, and those of them that are written or refused.
    accepted: u64,
    settled: u64,
    idle: Idle,
    closed: bool,
    ended: bool,
}

/// Why the thread is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Idle {
    /// It is not idle.
    #[default]
    None,
    /// It has just written, and waits for more lines, so that not each of them wakes it: a wake-up costs the logging
    /// thread more than the line does.
    Pause,
    /// No line came during the pause.
    Sleep,
}

impl Queue {
    pub(crate) fn start(
        output: Output,
        limits: Limits,
        notice: Notice,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = WriterThread {
            shared: Arc::clone(&shared),
            counts: Arc::clone(&counts),
            notice,
            output,
        };
        thread::Builder::new()
            .name("pyproc-log".into())
            .spawn(|| thread.run())?;
        Ok(Self {
            shared,
            limits,
            counts,
        })
    }

    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        let taken = state.take(line, self.limits);
        let wake = state.wants_thread(self.limits);
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        if !taken {
            self.counts.drop_one();
        }
    }

    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        state.idle = Idle::None;
        self.shared.work.notify_one();
        let until = state.accepted;
        self.shared
            .wait(state, timeout, |state| state.settled >= until)
    }

    pub(crate) fn close(&self, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.work.notify_one();
        self.shared.wait(state, timeout, |state| state.ended)
    }
}

impl State {
    /// Whether the line was accepted.
    fn take(&mut self, line: &[u8], limits: Limits) -> bool {
        if self.closed {
            return false;
        }
        if !self.has_room(line, limits) {
            self.unreported += 1;
            return false;
        }
        self.waiting.extend_from_slice(line);
        self.waiting_lines += 1;
        self.accepted += 1;
        true
    }

    fn has_room(&self, line: &[u8], limits: Limits) -> bool {
        self.waiting_lines + self.writing_lines < limits.lines
            && self.waiting.len() + self.writing_bytes + line.len() <= limits.bytes
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.unreported > 0
    }

    /// Whether the thread has to be woken. True once for each wake-up.
    fn wants_thread(&mut self, limits: Limits) -> bool {
        let wake = match self.idle {
            Idle::None => false,
            Idle::Pause => {
                self.waiting_lines > limits.lines / 2 || self.waiting.len() > limits.bytes / 2
            }
            Idle::Sleep => true,
        };
        if wake {
            self.idle = Idle::None;
        }
        wake
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(
        &self,
        mut state: MutexGuard<'_, State>,
        timeout: Duration,
        finished: impl Fn(&State) -> bool,
    ) -> bool {
        let start = Instant::now();
        while !finished(&state) && !state.ended {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            let woken = self.done.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        finished(&state)
    }
}

struct WriterThread {
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    notice: Notice,
    output: Output,
}

impl WriterThread {
    fn run(mut self) {
        // Notifies waiting threads, also when an output panics.
        let _ended = Ended(Arc::clone(&self.shared));
        let mut batch = Vec::new();
        while let Some((lines, dropped)) = self.next(&mut batch) {
            if dropped > 0 {
                // Lines were dropped after this batch, so the notice follows it.
                (self.notice)(dropped, &mut batch);
            }
            let result = while_writing(|| self.output.write(&batch));
            self.counts.settle(lines as u64, result);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
    }

    /// Waits for lines, and takes all of them, with the number of lines that were dropped after them. `None` when the
    /// queue is closed and empty.
    fn next(&self, batch: &mut Vec<u8>) -> Option<(usize, u64)> {
        let mut state = self.shared.lock();
        state.settled += mem::take(&mut state.writing_lines) as u64;
        state.writing_bytes = 0;
        self.shared.done.notify_all();
        state = self.wait_for_work(state);
        if !state.has_work() {
            return None;
        }
        mem::swap(batch, &mut state.waiting);
        state.writing_bytes = batch.len();
        state.writing_lines = mem::take(&mut state.waiting_lines);
        Some((state.writing_lines, mem::take(&mut state.unreported)))
    }

    /// Returns when there is work, or the queue is closed.
    fn wait_for_work<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let work = &self.shared.work;
        if !state.closed {
            state.idle = Idle::Pause;
            let undisturbed = |state: &mut State| state.idle == Idle::Pause && !state.closed;
            let woken = work.wait_timeout_while(state, PAUSE, undisturbed);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        while !state.has_work() && !state.closed {
            state.idle = Idle::Sleep;
            state = work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = Idle::None;
        state
    }
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.ended = true;
        drop(state);
        self.0.done.notify_all();
    }
}
