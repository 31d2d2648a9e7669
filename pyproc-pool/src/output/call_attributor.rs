//! Attributes the output of a worker from before the hello to its calls.
//!
//! Such a worker does not report which call a line belongs to. But it runs one call at a time, and writes a call's
//! lines after the request was sent and before it sends the answer. So while the worker has a single call, its output
//! belongs to that call. Whenever that call changes, the bytes that are in the pipes are marked as output of the time
//! before.

use std::{
    collections::VecDeque,
    io::PipeReader,
    mem::MaybeUninit,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::io::{Errno, ioctl_fionread, read};
use serde_json::{Map, Value};

use super::lines::{Context, Ids, Stream};
use crate::outgoing::Calling;

/// The pipes of one worker, and which calls write to them.
#[derive(Debug)]
pub(crate) struct CallAttributor {
    stdout: Arc<PipeReader>,
    stderr: Arc<PipeReader>,
    state: Mutex<State>,
    /// The worker reported that it is not written in Python.
    foreign: AtomicBool,
}

/// Bytes of one read, all of them written during the same call.
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    /// The read emptied the pipe.
    pub(super) emptied: bool,
    pub(super) call: Option<Arc<Calling>>,
    pub(super) foreign: bool,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of the requests, which is that of the answers.
    calls: VecDeque<Arc<Calling>>,
    /// The call that new output belongs to; `None` while there are several or none.
    now: Option<Arc<Calling>>,
    stdout: Progress,
    stderr: Progress,
}

/// How far a pipe has been read.
#[derive(Debug, Default)]
struct Progress {
    read: u64,
    marks: VecDeque<Mark>,
}

/// Output up to a position belongs to this call.
#[derive(Debug)]
struct Mark {
    until: u64,
    call: Option<Arc<Calling>>,
}

/// With more marks, the newest output is attributed to no call.
const MOST_MARKS: usize = 1024;

/// W3C's limits of baggage.
const MAX_BAGGAGE: usize = 8192;
const MAX_MEMBERS: usize = 180;

impl CallAttributor {
    pub(crate) fn new(stdout: Arc<PipeReader>, stderr: Arc<PipeReader>) -> Self {
        Self {
            stdout,
            stderr,
            state: Mutex::default(),
            foreign: AtomicBool::new(false),
        }
    }

    /// Notes that the worker is not written in Python.
    pub(crate) fn set_foreign(&self) {
        self.foreign.store(true, Ordering::Relaxed);
    }

    /// A request is about to be sent.
    pub(crate) fn on_request(&self, call: Calling) {
        let mut state = self.lock();
        state.calls.push_back(Arc::new(call));
        self.turn(&mut state);
    }

    /// The answer to the oldest request has arrived.
    pub(crate) fn on_answer(&self) {
        let mut state = self.lock();
        state.calls.pop_front();
        self.turn(&mut state);
    }

    /// The worker has no calls any more.
    pub(crate) fn forget_calls(&self) {
        let mut state = self.lock();
        state.calls.clear();
        self.turn(&mut state);
    }

    /// Marks the bytes in the pipes if the current call has changed.
    fn turn(&self, state: &mut State) {
        let next = match state.calls.len() {
            1 => state.calls.front().cloned(),
            _ => None,
        };
        if is_same(next.as_ref(), state.now.as_ref()) {
            return;
        }
        let before = std::mem::replace(&mut state.now, next);
        let (stdout, stderr) = (&mut state.stdout, &mut state.stderr);
        for (pipe, progress) in [(&self.stdout, stdout), (&self.stderr, stderr)] {
            // If the system does not tell the size, nothing was written.
            let unread = ioctl_fionread(pipe).unwrap_or(0);
            progress.mark(unread, before.as_ref());
        }
    }

    /// Reads bytes of one call only.
    pub(super) fn read<'a>(
        &self,
        stream: Stream,
        buffer: &'a mut [MaybeUninit<u8>],
    ) -> Result<Piece<'a>, Errno> {
        let mut state = self.lock();
        let State {
            now,
            stdout,
            stderr,
            ..
        } = &mut *state;
        let (pipe, progress) = match stream {
            Stream::Stdout => (&self.stdout, stdout),
            Stream::Stderr => (&self.stderr, stderr),
        };
        let limit = progress.limit(buffer.len());
        let (bytes, _) = read(pipe, &mut buffer[..limit])?;
        Ok(Piece {
            emptied: bytes.len() < limit,
            call: progress.on_read(bytes.len(), now.as_ref()),
            bytes,
            foreign: self.foreign.load(Ordering::Relaxed),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Attributes the next `unread` bytes to this call, unless a mark does so already.
    fn mark(&mut self, unread: u64, call: Option<&Arc<Calling>>) {
        let until = self.read + unread;
        if self.marks.back().map_or(self.read, |mark| mark.until) >= until {
            return;
        }
        let mut call = call.cloned();
        if self.marks.len() == MOST_MARKS {
            self.marks.pop_back();
            call = None;
        }
        self.marks.push_back(Mark { until, call });
    }

    /// How many bytes, up to `most`, may be read at once.
    fn limit(&self, most: usize) -> usize {
        let ahead = self.marks.front().map(|mark| mark.until - self.read);
        ahead.map_or(most, |it| usize::try_from(it).unwrap_or(most).min(most))
    }

    fn on_read(&mut self, bytes: usize, now: Option<&Arc<Calling>>) -> Option<Arc<Calling>> {
        self.read += bytes as u64;
        let Some(mark) = self.marks.front() else {
            return now.cloned();
        };
        let call = mark.call.clone();
        if mark.until <= self.read {
            self.marks.pop_front();
        }
        call
    }
}

/// Whether it is the same call, or none.
pub(super) fn is_same(one: Option<&Arc<Calling>>, other: Option<&Arc<Calling>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl Calling {
    /// The context of the lines that it prints.
    pub(super) fn context(&self) -> Context {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ids = self.trace.as_ref().map(|trace| Ids {
            trace_id: Some(hex(&trace.trace_id)),
            span_id: Some(hex(&trace.span_id)),
            trace_flags: Some(hex(&[trace.flags])),
        });
        Context {
            function: Some(self.function.clone()),
            ids: ids.unwrap_or_default(),
            baggage: self.baggage.as_deref().map(members).unwrap_or_default(),
            ..Context::default()
        }
    }
}

/// The members of W3C baggage, within its limits.
fn members(header: &str) -> Map<String, Value> {
    let members = header.split(',').take(MAX_MEMBERS);
    let read = members.filter_map(|member| {
        let (name, value) = member.split(';').next()?.split_once('=')?;
        let name = Some(name.trim()).filter(|name| !name.is_empty())?;
        Some((name.to_owned(), decoded(value.trim()).into()))
    });
    match header.len() <= MAX_BAGGAGE {
        true => read.collect(),
        false => Map::new(),
    }
}

/// Decodes percent escapes.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after
            .get(..2)
            // Rust would accept a sign.
            .filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|it| u8::from_str_radix(it, 16).ok());
        rest = match code {
            Some(byte) => {
                bytes.push(byte);
                &after[2..]
            }
            None => {
                bytes.push(b'%');
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write, pipe};

    use super::*;

    struct Worker {
        stdout: PipeWriter,
        attributor: CallAttributor,
        _stderr: PipeWriter,
    }

    fn worker() -> Worker {
        let (stdout, to_stdout) = pipe().unwrap();
        let (stderr, to_stderr) = pipe().unwrap();
        Worker {
            stdout: to_stdout,
            attributor: CallAttributor::new(Arc::new(stdout), Arc::new(stderr)),
            _stderr: to_stderr,
        }
    }

    impl Worker {
        fn request(&self, function: &str) {
            self.attributor.on_request(Calling {
                function: function.into(),
                trace: None,
                baggage: None,
            });
        }

        fn write(&mut self, text: &str) {
            self.stdout.write_all(text.as_bytes()).unwrap();
        }

        /// What is read at once, and the function that wrote it.
        fn read(&self) -> (String, String) {
            let mut buffer = [MaybeUninit::uninit(); 100];
            let piece = self.attributor.read(Stream::Stdout, &mut buffer).unwrap();
            let function = piece
                .call
                .map_or_else(String::new, |it| it.function.clone());
            (String::from_utf8(piece.bytes.to_vec()).unwrap(), function)
        }
    }

    fn of(text: &str, function: &str) -> (String, String) {
        (text.into(), function.into())
    }

    #[test]
    fn what_was_written_in_a_call_is_of_that_call_whenever_it_is_read() {
        let mut worker = worker();
        worker.write("idle");
        worker.request("f");
        worker.write("in f");
        worker.attributor.on_answer();
        worker.request("g");
        worker.write("in g");
        assert_eq!(worker.read(), of("idle", ""));
        assert_eq!(worker.read(), of("in f", "f"));
        assert_eq!(worker.read(), of("in g", "g"));
        worker.write("still");
        assert_eq!(worker.read(), of("still", "g"));
        worker.write("at its end");
        worker.attributor.forget_calls();
        worker.write("dead");
        assert_eq!(worker.read(), of("at its end", "g"));
        assert_eq!(worker.read(), of("dead", ""));
    }

    #[test]
    fn what_may_be_of_two_calls_is_of_none() {
        let mut worker = worker();
        worker.request("f");
        worker.write("in f");
        worker.request("g");
        worker.write("either");
        worker.attributor.on_answer();
        worker.write("in g");
        assert_eq!(worker.read(), of("in f", "f"));
        assert_eq!(worker.read(), of("either", ""));
        assert_eq!(worker.read(), of("in g", "g"));
    }

    #[test]
    fn marks_are_bounded() {
        let mut worker = worker();
        for number in 0..2 * MOST_MARKS {
            worker.request(&number.to_string());
            worker.write("x");
            worker.attributor.on_answer();
        }
        assert_eq!(worker.attributor.lock().stdout.marks.len(), MOST_MARKS);
        for number in 0..MOST_MARKS - 1 {
            assert_eq!(worker.read(), of("x", &number.to_string()));
        }
        assert_eq!(worker.read().1, "");
    }

    #[test]
    fn baggage_is_taken_apart() {
        let read = members("request_id=r%201, tenant = acme;p=1,broken,=x,odd=1%zz%+1%,é=%C3%A9");
        let expected = serde_json::json!({
            "request_id": "r 1", "tenant": "acme", "odd": "1%zz%+1%", "é": "é"
        });
        assert_eq!(Value::Object(read), expected);
        assert!(members(&"a=b,".repeat(MAX_BAGGAGE)).is_empty());
    }
}
