use std::{
    mem,
    time::{Duration, Instant},
};

use tracing::Level;

use super::{
    Context, continuation::Continuation, entry::Entry, parse::ParsedLine, stack_trace::StackTrace,
};

/// Makes entries of lines. The lines of a stack trace are one entry, together with the record before it. So these are
/// held back until they are complete: another line of the same context follows, or none for a while.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// At most one for each context, because threads may print at the same time.
    open: Vec<Held>,
}

/// With more, the one that times out first counts as complete.
const MOST_OPEN: usize = 64;

/// After this time without another line, a record, a trace that can be complete, or a line without an end counts as
/// complete.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Held {
    context: Context,
    content: Content,
    until: Instant,
}

#[derive(Debug)]
enum Content {
    /// A record of a logging library, which a trace may follow.
    Record(Entry),
    /// An entry that other lines may follow.
    Begun(Entry, Continuation),
    Trace(StackTrace),
    Both {
        record: Entry,
        trace: StackTrace,
        /// The trace is within the record's message, so the exception's text is a part of the message.
        amid: bool,
    },
}

/// What a line begins.
enum Begun {
    /// More lines may belong to it.
    Held(Content),
    Complete(Entry),
}

impl Assembler {
    /// Takes a line, and calls `emit` with each complete entry.
    pub(crate) fn line(
        &mut self,
        line: &str,
        context: Context,
        now: Instant,
        mut emit: impl FnMut(Entry, Context),
    ) {
        if !self.offer(line, &context, now, &mut emit) {
            self.begin(line, context, now, &mut emit);
        }
    }

    /// Takes lines of one write: plain lines after a record, a warning or an exception continue its text.
    pub(crate) fn lines(
        &mut self,
        text: &str,
        context: Context,
        now: Instant,
        mut emit: impl FnMut(Entry, Context),
    ) {
        for (number, line) in text.split('\n').enumerate() {
            let is_taken = self.offer(line, &context, now, &mut emit)
                || (number > 0 && self.append(line, &context));
            if !is_taken {
                self.begin(line, context.clone(), now, &mut emit);
            }
        }
    }

    /// Whether the line belongs to what is held.
    fn offer(
        &mut self,
        line: &str,
        context: &Context,
        now: Instant,
        emit: &mut impl FnMut(Entry, Context),
    ) -> bool {
        let Some(place) = self.place(context) else {
            return false;
        };
        let is_taken = self.open[place].take(line, now);
        if is_taken && self.open[place].content.is_complete() {
            self.close(place, emit);
        }
        is_taken
    }

    fn append(&mut self, line: &str, context: &Context) -> bool {
        let Some(place) = self.place(context) else {
            return false;
        };
        let is_plain = matches!(ParsedLine::parse(line, context.foreign), ParsedLine::Plain);
        is_plain && !StackTrace::is_title(line) && self.open[place].content.append(line)
    }

    fn place(&self, context: &Context) -> Option<usize> {
        let mut open = self.open.iter();
        open.position(|it| it.context.continues(context))
    }

    /// Starts an entry with a line that does not belong to a held one.
    fn begin(
        &mut self,
        line: &str,
        context: Context,
        now: Instant,
        emit: &mut impl FnMut(Entry, Context),
    ) {
        if let Some(place) = self.place(&context) {
            self.close(place, emit);
        }
        // An empty line is dropped.
        if line.trim().is_empty() {
            return;
        }
        let content = match Begun::of(line, &context) {
            Begun::Held(content) => content,
            Begun::Complete(entry) => return emit(entry, context),
        };
        if self.open.len() == MOST_OPEN {
            self.tick(self.deadline().unwrap_or(now), &mut *emit);
        }
        self.open.push(Held {
            until: now + content.patience(),
            content,
            context,
        });
    }

    /// When a held entry times out.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|it| it.until).min()
    }

    /// Emits the entries that have timed out.
    pub(crate) fn tick(&mut self, now: Instant, mut emit: impl FnMut(Entry, Context)) {
        while let Some(place) = self.open.iter().position(|it| it.until <= now) {
            self.close(place, &mut emit);
        }
    }

    /// Emits all held entries.
    pub(crate) fn flush(&mut self, mut emit: impl FnMut(Entry, Context)) {
        while !self.open.is_empty() {
            self.close(0, &mut emit);
        }
    }

    fn close(&mut self, place: usize, emit: &mut impl FnMut(Entry, Context)) {
        let Held {
            context, content, ..
        } = self.open.remove(place);
        emit(content.finish(), context);
    }
}

impl Held {
    /// Adds the line if it belongs to this entry.
    fn take(&mut self, line: &str, now: Instant) -> bool {
        let is_taken = match &mut self.content {
            Content::Trace(trace) | Content::Both { trace, .. } => trace.take(line),
            Content::Begun(entry, more) => more.take(line, entry),
            Content::Record(record) => match StackTrace::begin(line) {
                Some(trace) if trace.is_of_python() => {
                    self.content = Content::Both {
                        record: mem::replace(record, Entry::plain("")),
                        trace,
                        amid: false,
                    };
                    true
                }
                _ => false,
            },
        };
        if is_taken {
            self.until = now + self.content.patience();
        }
        is_taken
    }
}

impl Begun {
    fn of(line: &str, context: &Context) -> Self {
        let mut record = match ParsedLine::parse(line, context.foreign) {
            ParsedLine::Complete(entry) => return Self::Complete(entry),
            ParsedLine::Begun(entry, more) => return Self::Held(Content::Begun(entry, more)),
            ParsedLine::Record(record) => record,
            ParsedLine::Plain => {
                return match StackTrace::begin(line) {
                    Some(trace) => Self::Held(Content::Trace(trace)),
                    None => Self::Complete(Entry::plain(line)),
                };
            }
        };
        Self::Held(match StackTrace::begin_amid(&record.message) {
            None => Content::Record(record),
            Some((message, trace)) => {
                record.message = message.into();
                Content::Both {
                    record,
                    trace,
                    amid: true,
                }
            }
        })
    }
}

impl Content {
    fn is_complete(&self) -> bool {
        match self {
            Self::Record(_) | Self::Begun(..) => false,
            Self::Trace(trace) | Self::Both { trace, .. } => trace.is_complete(),
        }
    }

    /// Adds a line that only its common write connects with the lines before it. Returns `false` if it must be an entry
    /// of its own.
    fn append(&mut self, line: &str) -> bool {
        match self {
            Self::Record(entry) | Self::Begun(entry, _) => {
                entry.append(line);
                true
            }
            Self::Trace(trace) | Self::Both { trace, .. } => trace.append(line),
        }
    }

    fn patience(&self) -> Duration {
        match self {
            Self::Record(_) | Self::Begun(..) => QUIET,
            Self::Trace(trace) | Self::Both { trace, .. } => trace.patience(),
        }
    }

    fn finish(self) -> Entry {
        let (record, trace, amid) = match self {
            Self::Record(record) | Self::Begun(record, _) => return record,
            Self::Trace(trace) => {
                let record = Entry {
                    level: Level::ERROR,
                    ..Entry::plain("")
                };
                (record, trace, true)
            }
            Self::Both {
                record,
                trace,
                amid,
            } => (record, trace, amid),
        };
        let (reason, trace) = match trace.finish() {
            Ok(finished) => finished,
            Err(line) => return Entry::plain(line),
        };
        let message = match &record.message {
            message if !amid => message.clone(),
            message if message.is_empty() => reason,
            message => format!("{message} {reason}"),
        };
        Entry {
            message,
            exception: Some(trace),
            ..record
        }
    }
}

#[cfg(test)]
mod tests;
