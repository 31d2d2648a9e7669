use std::{
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{counts::Counts, output::Output, reentry::while_writing};

/// Writes the line that says how many were dropped.
pub(crate) type Notice = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

/// How much may wait for the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// How long lines may gather after a batch was written. The first line after a longer silence is
/// written at once.
const PAUSE: Duration = Duration::from_millis(1);

/// After a burst, a larger buffer is given back.
const KEPT_BYTES: usize = 1 << 20;

/// Lines on their way to the thread that writes them.
///
/// They lie one behind the other in one buffer, which that thread swaps for an empty one: a line costs a
/// copy under a short lock, and all that wait are written at once.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    limits: Limits,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something is there to write, or the queue is closed.
    work: Condvar,
    /// A batch is done, or the thread has ended.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    waiting_lines: usize,
    /// Size of the batch that is being written.
    writing_bytes: usize,
    writing_lines: usize,
    /// Dropped lines that no line has spoken of.
    unsaid: u64,
    /// Lines taken in, and those of them that are written or refused.
    accepted: u64,
    settled: u64,
    rest: Rest,
    closed: bool,
    ended: bool,
}

/// Why the thread is not at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rest {
    /// It is.
    #[default]
    None,
    /// It has just written and lets lines gather, so that not each of them wakes it: to wake a thread costs the
    /// one that logs more than the line does.
    Pause,
    /// Nothing came during the pause.
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
        state.rest = Rest::None;
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
    /// Whether the line was taken rather than dropped.
    fn take(&mut self, line: &[u8], limits: Limits) -> bool {
        if self.closed {
            return false;
        }
        if !self.has_room(line, limits) {
            self.unsaid += 1;
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
        !self.waiting.is_empty() || self.unsaid > 0
    }

    /// Whether the thread has to be woken, which is asked for once.
    fn wants_thread(&mut self, limits: Limits) -> bool {
        let wake = match self.rest {
            Rest::None => false,
            Rest::Pause => {
                self.waiting_lines > limits.lines / 2 || self.waiting.len() > limits.bytes / 2
            }
            Rest::Sleep => true,
        };
        if wake {
            self.rest = Rest::None;
        }
        wake
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
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
        // Tells those who wait, also when an output panics.
        let _ended = Ended(Arc::clone(&self.shared));
        let mut batch = Vec::new();
        while let Some((lines, dropped)) = self.next(&mut batch) {
            if dropped > 0 {
                // It was dropped because all this waited, so it belongs behind it.
                (self.notice)(dropped, &mut batch);
            }
            let result = while_writing(|| self.output.write(&batch));
            self.counts.settle(lines as u64, result);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
    }

    /// Waits for lines and takes all that there are, with how many were dropped after them; nothing when the
    /// queue is closed and empty.
    fn next(&self, batch: &mut Vec<u8>) -> Option<(usize, u64)> {
        let mut state = self.shared.lock();
        state.settled += mem::take(&mut state.writing_lines) as u64;
        state.writing_bytes = 0;
        self.shared.done.notify_all();
        state = self.rest(state);
        if !state.has_work() {
            return None;
        }
        mem::swap(batch, &mut state.waiting);
        state.writing_bytes = batch.len();
        state.writing_lines = mem::take(&mut state.waiting_lines);
        Some((state.writing_lines, mem::take(&mut state.unsaid)))
    }

    /// Returns when there is work, or the queue is closed.
    fn rest<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let work = &self.shared.work;
        if !state.closed {
            state.rest = Rest::Pause;
            let undisturbed = |state: &mut State| state.rest == Rest::Pause && !state.closed;
            let woken = work.wait_timeout_while(state, PAUSE, undisturbed);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        while !state.has_work() && !state.closed {
            state.rest = Rest::Sleep;
            state = work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.rest = Rest::None;
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
