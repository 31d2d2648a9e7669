use std::time::{Duration, Instant};

use tracing::Level;

use super::{Context, Entry, LONGEST};

/// Makes entries of lines. The lines of a traceback are one entry, so that one is held back until it is complete:
/// another line of the same context follows, or none for a while.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// One of each context at most; threads may print at the same time.
    open: Vec<Traceback>,
}

/// With more, the one that has the least time left is taken to be complete.
const MOST_OPEN: usize = 64;

#[derive(Debug)]
struct Traceback {
    context: Context,
    text: String,
    /// Its last line without indentation: the exception.
    message: String,
    stage: Stage,
    until: Instant,
}

/// What a traceback has had last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its title or the frames below.
    Frames,
    /// Those of an exception group, which are indented to the end.
    Group,
    /// The exception.
    Exception,
    /// An empty line after that.
    Gap,
    /// That another exception follows.
    Link,
}

/// After this time without more a traceback that has its exception, or a line without an end, is complete.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// A traceback that cannot be complete breaks off only then: its thread may have to wait for the processor.
const STALLED: Duration = Duration::from_secs(2);

const LINKS: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

impl Assembler {
    /// Takes a line; `emit` gets what is complete.
    pub(crate) fn line(
        &mut self,
        line: &str,
        context: Context,
        now: Instant,
        mut emit: impl FnMut(Entry, Context),
    ) {
        let same = |it: &Traceback| it.context.continues(&context);
        if let Some(place) = self.open.iter().position(same) {
            let traceback = &mut self.open[place];
            if let Some(stage) = traceback.stage.after(line) {
                return traceback.push(line, stage, now);
            }
            self.close(place, &mut emit);
        }
        match Stage::at_beginning(line) {
            Some(stage) => {
                if self.open.len() == MOST_OPEN {
                    self.tick(self.deadline().unwrap_or(now), &mut emit);
                }
                self.open.push(Traceback::new(line, stage, context, now));
            }
            // An empty line says nothing.
            None if line.trim().is_empty() => {}
            None => emit(Entry::of_line(line), context),
        }
    }

    /// Until when something is held back.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|it| it.until).min()
    }

    /// What has been held back for long enough is complete.
    pub(crate) fn tick(&mut self, now: Instant, mut emit: impl FnMut(Entry, Context)) {
        while let Some(place) = self.open.iter().position(|it| it.until <= now) {
            self.close(place, &mut emit);
        }
    }

    /// All that is held back is complete.
    pub(crate) fn flush(&mut self, mut emit: impl FnMut(Entry, Context)) {
        while !self.open.is_empty() {
            self.close(0, &mut emit);
        }
    }

    fn close(&mut self, place: usize, emit: &mut impl FnMut(Entry, Context)) {
        let (entry, context) = self.open.remove(place).finish();
        emit(entry, context);
    }
}

impl Traceback {
    fn new(title: &str, stage: Stage, context: Context, now: Instant) -> Self {
        Self {
            context,
            text: title.into(),
            message: String::new(),
            stage,
            until: now + stage.patience(),
        }
    }

    fn push(&mut self, line: &str, stage: Stage, now: Instant) {
        let group = self.stage == Stage::Group && self.message.is_empty();
        match line.strip_prefix("  | ") {
            Some(line) if group && !line.starts_with(' ') => self.message = line.into(),
            _ if stage == Stage::Exception => self.message = line.into(),
            _ => {}
        }
        // The exception, which is the last, is in the message in any case.
        if self.text.len() + line.len() < LONGEST {
            self.text.push('\n');
            self.text.push_str(line);
        }
        self.stage = stage;
        self.until = now + stage.patience();
    }

    fn finish(self) -> (Entry, Context) {
        let text = self.text.trim_end_matches('\n');
        let message = match self.message.as_str() {
            // The worker ended before it was told.
            "" => text.lines().next().unwrap_or_default(),
            message => message,
        };
        let entry = Entry {
            level: Level::ERROR,
            exception: Some(text.into()),
            ..Entry::plain(message)
        };
        (entry, self.context)
    }
}

impl Stage {
    fn at_beginning(line: &str) -> Option<Self> {
        match line.trim_end() {
            "Traceback (most recent call last):" => Some(Self::Frames),
            "  + Exception Group Traceback (most recent call last):" => Some(Self::Group),
            _ => None,
        }
    }

    /// How long to wait for another line.
    fn patience(self) -> Duration {
        match self {
            Self::Exception | Self::Gap => QUIET,
            Self::Frames | Self::Group | Self::Link => STALLED,
        }
    }

    /// What a traceback has had with one line more, if that belongs to it.
    fn after(self, line: &str) -> Option<Self> {
        let is_indented = line.starts_with([' ', '\t']);
        let is_empty = line.trim().is_empty();
        match self {
            Self::Frames if is_indented => Some(Self::Frames),
            Self::Frames if !is_empty => Some(Self::Exception),
            Self::Group if is_indented => Some(Self::Group),
            Self::Exception | Self::Group if is_empty => Some(Self::Gap),
            Self::Gap if LINKS.contains(&line) => Some(Self::Link),
            Self::Link if is_empty => Some(Self::Link),
            Self::Link => Self::at_beginning(line),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLE: &str = "Traceback (most recent call last):
  File \"a.py\", line 1, in <module>
    f()
ValueError: no";

    fn entries(text: &str) -> Vec<Entry> {
        let (mut assembler, mut entries) = (Assembler::default(), Vec::new());
        let now = Instant::now();
        for line in text.lines() {
            assembler.line(line, Context::default(), now, |entry, _| {
                entries.push(entry)
            });
        }
        assembler.flush(|entry, _| entries.push(entry));
        assert_eq!(assembler.deadline(), None);
        entries
    }

    fn traceback(message: &str, text: &str) -> Entry {
        Entry {
            level: Level::ERROR,
            exception: Some(text.into()),
            ..Entry::plain(message)
        }
    }

    #[test]
    fn a_traceback_is_one_entry_among_the_lines_around_it() {
        let text = format!("before\n{SIMPLE}\nafter");
        let expected = [
            Entry::plain("before"),
            traceback("ValueError: no", SIMPLE),
            Entry::plain("after"),
        ];
        assert_eq!(entries(&text), expected);
    }

    #[test]
    fn tracebacks_that_are_linked_are_one_entry() {
        for link in LINKS {
            let text = format!("{SIMPLE}\n\n{link}\n\n{SIMPLE} more");
            assert_eq!(entries(&text), [traceback("ValueError: no more", &text)]);
        }
    }

    #[test]
    fn tracebacks_that_are_not_linked_are_two_entries() {
        let one = traceback("ValueError: no", SIMPLE);
        let two = traceback("ValueError: no", SIMPLE);
        assert_eq!(entries(&format!("{SIMPLE}\n\n{SIMPLE}")), [one, two]);
    }

    #[test]
    fn a_group_of_exceptions_is_one_entry() {
        let text = "  + Exception Group Traceback (most recent call last):
  |   File \"a.py\", line 1, in <module>
  | ExceptionGroup: both (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: one
    +---------------- 2 ----------------
    | ValueError: two
    +------------------------------------";
        let expected = traceback("ExceptionGroup: both (2 sub-exceptions)", text);
        assert_eq!(
            entries(&format!("{text}\nafter")),
            [expected, Entry::plain("after")]
        );
    }

    #[test]
    fn a_traceback_that_breaks_off_is_what_there_is() {
        let text = "Traceback (most recent call last):\n  File \"a.py\", line 1";
        let expected = traceback("Traceback (most recent call last):", text);
        assert_eq!(entries(text), [expected]);
    }

    #[test]
    fn an_endless_traceback_is_cut() {
        let frame = format!("  File {}\n", "x".repeat(1000));
        let text = format!(
            "Traceback (most recent call last):\n{}ValueError: no",
            frame.repeat(1000)
        );
        let entries = entries(&text);
        assert_eq!(entries[0].message, "ValueError: no");
        assert!(entries[0].exception.as_ref().unwrap().len() <= LONGEST);
    }

    fn thread(name: &str) -> Context {
        Context {
            thread: Some(name.into()),
            ..Context::default()
        }
    }

    #[test]
    fn threads_that_print_at_the_same_time_do_not_get_into_each_others_tracebacks() {
        let (mut assembler, mut said, now) = (Assembler::default(), Vec::new(), Instant::now());
        let mut emit = |entry: Entry, context: Context| {
            said.push((entry.exception.unwrap_or(entry.message), context.thread));
        };
        for line in SIMPLE.lines() {
            assembler.line(line, thread("a"), now, &mut emit);
            assembler.line(line, thread("b"), now, &mut emit);
            assembler.line("plain", thread("c"), now, &mut emit);
        }
        assembler.flush(&mut emit);
        let of = |text: &str, name: &str| (text.to_owned(), Some(name.to_owned()));
        let plain = vec![of("plain", "c"); SIMPLE.lines().count()];
        let tracebacks = vec![of(SIMPLE, "a"), of(SIMPLE, "b")];
        assert_eq!(said, [plain, tracebacks].concat());
    }

    #[test]
    fn processes_that_print_at_the_same_time_do_not_get_into_each_others_tracebacks() {
        let (mut assembler, mut said, now) = (Assembler::default(), Vec::new(), Instant::now());
        let process = |pid| Context {
            process: Some(pid),
            ..thread("MainThread")
        };
        let mut emit = |entry: Entry, context: Context| said.push((entry.exception, context));
        for line in SIMPLE.lines() {
            assembler.line(line, process(1), now, &mut emit);
            assembler.line("plain", process(2), now, &mut emit);
        }
        assembler.flush(&mut emit);
        assert_eq!(said.pop(), Some((Some(SIMPLE.to_owned()), process(1))));
        assert!(said.iter().all(|it| *it == (None, process(2))), "{said:?}");
    }

    #[test]
    fn of_many_threads_one_that_has_its_exception_is_complete_first() {
        let (mut assembler, mut said, now) = (Assembler::default(), Vec::new(), Instant::now());
        let title = "Traceback (most recent call last):";
        for number in 0..=MOST_OPEN {
            let context = || thread(&number.to_string());
            let mut emit = |entry: Entry, context| said.push((entry.message, context));
            assembler.line(title, context(), now, &mut emit);
            if number == 5 {
                assembler.line("KeyError", context(), now, &mut emit);
            }
        }
        assert_eq!(said, [("KeyError".to_owned(), thread("5"))]);
    }

    #[test]
    fn what_is_held_back_is_complete_after_a_while() {
        let (mut assembler, mut said, now) = (Assembler::default(), 0, Instant::now());
        for line in SIMPLE.lines() {
            assembler.line(line, Context::default(), now, |_, _| {});
        }
        assert_eq!(assembler.deadline(), Some(now + QUIET));
        assembler.tick(now, |_, _| said += 1);
        assert_eq!(said, 0);
        assembler.tick(now + QUIET, |_, _| said += 1);
        assert_eq!((said, assembler.deadline()), (1, None));
        assembler.line(
            "Traceback (most recent call last):",
            Context::default(),
            now,
            |_, _| {},
        );
        assert_eq!(assembler.deadline(), Some(now + STALLED));
    }

    #[test]
    fn empty_lines_say_nothing() {
        assert_eq!(entries("\n  \n"), []);
    }
}
