use std::time::Instant;

use super::{
    event,
    lines::{Assembler, Context, Entry, Stream},
};
use crate::events::Subscriber;

/// What is printed on one stream of a worker, from lines to events.
#[derive(Debug)]
pub(crate) struct Transcript {
    assembler: Assembler,
    speaker: Speaker,
}

#[derive(Debug)]
struct Speaker {
    worker: usize,
    stream: Stream,
    subscriber: Subscriber,
}

impl Transcript {
    pub(crate) fn new(worker: usize, stream: Stream, subscriber: Subscriber) -> Self {
        Self {
            assembler: Assembler::default(),
            speaker: Speaker {
                worker,
                stream,
                subscriber,
            },
        }
    }

    pub(crate) fn line(&mut self, line: &str, context: Context, now: Instant) {
        let speaker = &self.speaker;
        let emit = |entry, context| speaker.say(entry, context);
        self.assembler.line(line, context, now, emit);
    }

    /// Lines that were written at once.
    pub(crate) fn lines(&mut self, text: &str, context: Context, now: Instant) {
        let speaker = &self.speaker;
        let emit = |entry, context| speaker.say(entry, context);
        self.assembler.lines(text, context, now, emit);
    }

    /// Until when something is held back.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }

    /// Says what has been held back for long enough.
    pub(crate) fn tick(&mut self, now: Instant) {
        let speaker = &self.speaker;
        self.assembler
            .tick(now, |entry, context| speaker.say(entry, context));
    }

    /// Says all that is held back.
    pub(crate) fn flush(&mut self) {
        let speaker = &self.speaker;
        self.assembler
            .flush(|entry, context| speaker.say(entry, context));
    }
}

impl Speaker {
    fn say(&self, entry: Entry, context: Context) {
        self.subscriber
            .with_guarded(|| event::say(self.worker, self.stream, entry, context));
    }
}
