use std::time::Instant;

use super::{
    event,
    lines::{Assembler, Context, Entry, Stream},
};
use crate::events::Subscriber;

/// Makes events of the lines of one stream of a worker.
#[derive(Debug)]
pub(crate) struct EventWriter {
    assembler: Assembler,
    emitter: Emitter,
}

#[derive(Debug)]
struct Emitter {
    worker: usize,
    stream: Stream,
    subscriber: Subscriber,
}

impl EventWriter {
    pub(crate) fn new(worker: usize, stream: Stream, subscriber: Subscriber) -> Self {
        Self {
            assembler: Assembler::default(),
            emitter: Emitter {
                worker,
                stream,
                subscriber,
            },
        }
    }

    pub(crate) fn line(&mut self, line: &str, context: Context, now: Instant) {
        let emitter = &self.emitter;
        let emit = |entry, context| emitter.emit(entry, context);
        self.assembler.line(line, context, now, emit);
    }

    /// Lines that were written at once.
    pub(crate) fn lines(&mut self, text: &str, context: Context, now: Instant) {
        let emitter = &self.emitter;
        let emit = |entry, context| emitter.emit(entry, context);
        self.assembler.lines(text, context, now, emit);
    }

    /// When a held line must be emitted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }

    /// Emits what was held back for long enough.
    pub(crate) fn tick(&mut self, now: Instant) {
        let emitter = &self.emitter;
        self.assembler
            .tick(now, |entry, context| emitter.emit(entry, context));
    }

    /// Emits all that is held back.
    pub(crate) fn flush(&mut self) {
        let emitter = &self.emitter;
        self.assembler
            .flush(|entry, context| emitter.emit(entry, context));
    }
}

impl Emitter {
    fn emit(&self, entry: Entry, context: Context) {
        self.subscriber
            .with_guarded(|| event::emit(self.worker, self.stream, entry, context));
    }
}
