//! Recognizes the lines of a stack trace: of Python, and of other languages of a worker or its libraries.

use std::time::Duration;

use super::{QUIET, entry::append};

/// A stack trace, or its beginning.
#[derive(Debug)]
pub(super) struct StackTrace {
    stage: Stage,
    text: String,
    /// The error's text, once a line had it.
    message: String,
}

/// The last part that a trace has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Python: the title, "most recent call last".
    Title,
    /// The calls.
    Frames,
    /// loguru's empty line after the title,
    Spaced,
    /// and its calls, with empty lines and marks.
    Loguru,
    /// Calls of an exception group, which is indented to the end.
    Group,
    /// The exception.
    Exception,
    /// Empty lines after that.
    Gap,
    /// The line that announces another exception.
    Link,
    /// Python's last lines after a fatal signal.
    Fatal,
    /// JavaScript, Java, .NET: what may be an error, and is one if calls follow.
    Error,
    /// The calls.
    Calls,
    /// JavaScript: members of the error.
    Members,
    /// Go: the panic and the stacks.
    Goroutines,
    /// Rust: who panicked, and the text is on the next line.
    Panicked,
    /// The text.
    Panic,
    /// The calls.
    Backtrace,
    /// Nothing more belongs to it.
    Complete,
}

/// The timeout of a trace that cannot be complete yet: its thread may wait for the processor.
pub(super) const STALLED: Duration = Duration::from_secs(2);

const TITLE: &str = "Traceback (most recent call last):";
const GROUP_TITLE: &str = "  + Exception Group Traceback (most recent call last):";

pub(super) const LINKS: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

/// A longer line is not the first line of an error: searching it would take too long.
const LONG: usize = 1024;

impl StackTrace {
    /// A trace that begins with this line.
    pub(super) fn begin(line: &str) -> Option<Self> {
        let stage = Stage::at_beginning(line)?;
        let message = match stage {
            Stage::Title | Stage::Group => "",
            _ => line.trim(),
        };
        Some(Self {
            stage,
            text: line.into(),
            message: message.into(),
        })
    }

    /// Python's trace if the line ends with its title, and what is before it.
    pub(super) fn begin_amid(line: &str) -> Option<(&str, Self)> {
        let before = line.strip_suffix(TITLE)?;
        Some((before.trim_end(), Self::begin(TITLE)?))
    }

    /// The part of a text that is Python's trace, or all of it.
    pub(super) fn amid(text: &str) -> &str {
        let titles = [GROUP_TITLE, TITLE].into_iter();
        let start = titles.filter_map(|title| text.find(title)).min();
        &text[start.unwrap_or(0)..]
    }

    pub(super) fn is_title(line: &str) -> bool {
        Stage::title(line.trim_end()).is_some()
    }

    /// Whether it is Python's, which may follow the record that it belongs to.
    pub(super) fn is_of_python(&self) -> bool {
        matches!(self.stage, Stage::Title | Stage::Group)
    }

    /// Takes the line if it belongs to the trace.
    pub(super) fn take(&mut self, line: &str) -> bool {
        let Some(stage) = self.stage.after(line) else {
            return false;
        };
        match (stage, line.strip_prefix("  | ")) {
            (Stage::Exception, _) => self.message = line.into(),
            (Stage::Group, Some(line)) if self.message.is_empty() && !line.starts_with(' ') => {
                self.message = line.into();
            }
            (Stage::Panic, _) => {
                self.message.push(' ');
                self.message.push_str(line);
            }
            _ => {}
        }
        // The message has the error's text in any case.
        append(&mut self.text, line);
        self.stage = stage;
        true
    }

    /// Adds a line to a message or note of several lines, if the trace has had its exception.
    pub(super) fn append(&mut self, line: &str) -> bool {
        let is_more = matches!(self.stage, Stage::Exception | Stage::Gap);
        if is_more {
            append(&mut self.message, line);
            append(&mut self.text, line);
            self.stage = Stage::Exception;
        }
        is_more
    }

    /// Whether no line can follow.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// How long to wait for another line.
    pub(super) fn patience(&self) -> Duration {
        use Stage::{Frames, Group, Link, Loguru, Panicked, Spaced, Title};
        match self.stage {
            Title | Frames | Spaced | Loguru | Group | Link | Panicked => STALLED,
            _ => QUIET,
        }
    }

    /// The error's text, and the trace; an error without calls is only a line.
    pub(super) fn finish(mut self) -> Result<(String, String), String> {
        if self.stage == Stage::Error {
            return Err(self.text);
        }
        self.text.truncate(self.text.trim_end_matches('\n').len());
        if self.message.is_empty() {
            // The worker ended before it had printed the error's text.
            self.message = self.text.lines().next().unwrap_or_default().into();
        }
        Ok((self.message, self.text))
    }
}

impl Stage {
    fn at_beginning(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if let Some(title) = Self::title(line) {
            return Some(title);
        }
        if line.starts_with("Fatal Python error: ") {
            return Some(Self::Fatal);
        }
        if line.starts_with("panic: ") || line.starts_with("fatal error: ") {
            return Some(Self::Goroutines);
        }
        if line.starts_with("thread '") && line.contains(" panicked at ") {
            // Until Rust 1.73 the text was between quotes on this line.
            return Some(match line.ends_with(':') {
                true => Self::Panicked,
                false => Self::Panic,
            });
        }
        if is_call(line) && line.trim_end_matches(" {").ends_with(')') {
            return Some(Self::after_call(line));
        }
        is_error(line).then_some(Self::Error)
    }

    fn title(line: &str) -> Option<Self> {
        match line {
            TITLE => Some(Self::Title),
            GROUP_TITLE => Some(Self::Group),
            _ => None,
        }
    }

    /// The part after one more line, if that line belongs to the trace.
    fn after(self, line: &str) -> Option<Self> {
        let is_indented = line.starts_with([' ', '\t']);
        let is_empty = line.trim().is_empty();
        let is_marked = line.starts_with("> ");
        match self {
            Self::Title | Self::Frames if is_indented => Some(Self::Frames),
            Self::Title | Self::Spaced if is_empty => Some(Self::Spaced),
            Self::Title | Self::Frames if !is_empty => Some(Self::Exception),
            Self::Spaced if is_indented || is_marked => Some(Self::Loguru),
            Self::Loguru if is_empty || is_indented || is_marked => Some(Self::Loguru),
            Self::Loguru => Some(Self::Exception),
            Self::Group if is_indented => Some(Self::Group),
            Self::Exception | Self::Group | Self::Gap if is_empty => Some(Self::Gap),
            Self::Gap if LINKS.contains(&line) => Some(Self::Link),
            Self::Link if is_empty => Some(Self::Link),
            Self::Link => Self::title(line.trim_end()),
            Self::Fatal if is_empty || is_indented || is_of_fatal(line) => Some(Self::Fatal),
            Self::Error | Self::Calls if is_call(line) => Some(Self::after_call(line)),
            Self::Calls if is_between_calls(line) => Some(Self::Calls),
            Self::Members if line == "}" => Some(Self::Complete),
            Self::Members if is_empty || is_indented => Some(Self::Members),
            Self::Goroutines if is_empty || is_indented || is_of_go(line) => Some(Self::Goroutines),
            Self::Panicked | Self::Panic | Self::Backtrace if line.starts_with("note: ") => {
                Some(Self::Complete)
            }
            Self::Panic if line == "stack backtrace:" => Some(Self::Backtrace),
            Self::Panicked if !is_empty => Some(Self::Panic),
            Self::Backtrace if is_indented => Some(Self::Backtrace),
            _ => None,
        }
    }

    /// JavaScript lists the error's members between braces, which begin behind the last call.
    fn after_call(line: &str) -> Self {
        match line.ends_with('{') {
            true => Self::Members,
            false => Self::Calls,
        }
    }
}

/// `    at f (a.js:1:2)`, `\tat A.f(A.java:1)`, `   at A.F() in a.cs:line 1`.
fn is_call(line: &str) -> bool {
    let call = line.trim_start();
    let rest = call.strip_prefix("at ").filter(|_| call.len() < line.len());
    rest.is_some_and(|rest| {
        let rest = rest.trim_end_matches([' ', '{']);
        rest.contains(['(', '<']) || rest.ends_with(|c: char| c.is_ascii_digit())
    })
}

/// `Caused by: java.io.IOException: no`, `\t... 8 more`.
fn is_between_calls(line: &str) -> bool {
    let line = line.trim_start();
    ["Caused by: ", "Suppressed: ", "... "]
        .iter()
        .any(|it| line.starts_with(it))
}

/// `TypeError: no`, `failed: a.b.SomeException`, `Exception in thread "main" ...`.
fn is_error(line: &str) -> bool {
    const NAMES: [&str; 3] = ["Error", "Exception", "Throwable"];
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
    line.len() <= LONG
        && !line.starts_with([' ', '\t'])
        && NAMES.iter().any(|name| line.contains(name))
        && line
            .split(|c| !is_letter(c))
            .any(|word| NAMES.iter().any(|name| word.ends_with(name)))
}

fn is_of_go(line: &str) -> bool {
    const BEGINNINGS: [&str; 7] = [
        "goroutine ",
        "[signal ",
        "panic: ",
        "created by ",
        "runtime stack:",
        "main.",
        "exit status ",
    ];
    let is_function = line.ends_with(')') && line.contains('(') && !line.contains(": ");
    is_function || BEGINNINGS.iter().any(|it| line.starts_with(it))
}

fn is_of_fatal(line: &str) -> bool {
    line.ends_with("(most recent call first):")
        || line.starts_with("Python runtime state: ")
        || line.starts_with("Extension modules: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What went wrong according to a trace, all lines of which belong to it.
    fn message(text: &str) -> String {
        let mut lines = text.lines();
        let mut trace = StackTrace::begin(lines.next().unwrap()).unwrap();
        for line in lines {
            assert!(trace.take(line), "{line:?} after {:?}", trace.stage);
        }
        for line in ["after", "ERROR:shop:no", "Listening on (0.0.0.0, 80): go"] {
            assert!(!trace.take(line), "{line:?} after {:?}", trace.stage);
        }
        let (message, trace) = trace.finish().unwrap();
        assert_eq!(trace, text.trim_end_matches('\n'));
        message
    }

    #[test]
    fn a_traceback_of_loguru() {
        let text = "Traceback (most recent call last):

  File \"a.py\", line 4, in g
    try: 1/0
         └ <function g at 0x7f71f72804a0>

ZeroDivisionError: division by zero


The above exception was the direct cause of the following exception:


Traceback (most recent call last):

> File \"a.py\", line 7, in <module>
    try: g()

KeyError: 'x'";
        assert_eq!(message(text), "KeyError: 'x'");
    }

    #[test]
    fn the_last_words_of_python() {
        let text = "Fatal Python error: Segmentation fault

Current thread 0x00007f8e (most recent call first):
  File \"a.py\", line 3 in f
  File \"a.py\", line 5 in <module>

Extension modules: numpy.core (total: 1)";
        assert_eq!(message(text), "Fatal Python error: Segmentation fault");
    }

    #[test]
    fn a_stack_of_javascript_with_its_cause() {
        let text = "ModelError: outer
    at Object.<anonymous> (/srv/a.js:5:37)
    at async Promise.all (index 0)
    ... 4 lines matching cause stack trace ...
    at node:internal/main/run_main_module:28:49 {
  code: 3,
  [cause]: TypeError: no such model
      at f (/srv/a.js:2:21)
}";
        assert_eq!(message(text), "ModelError: outer");
        assert_eq!(
            message("failed: TypeError: no\n    at f (/srv/a.js:2:21)"),
            "failed: TypeError: no"
        );
    }

    #[test]
    fn a_stack_of_java_with_its_cause() {
        let text = "Exception in thread \"main\" java.lang.RuntimeException: outer
\tat A.main(A.java:2)
\tat java.base/java.lang.reflect.Method.invoke(Method.java:569)
\tSuppressed: java.io.IOException: closed
\t\tat A.close(A.java:7)
Caused by: java.lang.IllegalStateException: inner
\tat A.f(A.java:1)
\t... 8 more";
        assert!(message(text).ends_with("java.lang.RuntimeException: outer"));
    }

    #[test]
    fn a_panic_of_go() {
        let text = "panic: runtime error: index out of range [3] with length 2 [recovered]
\tpanic: again
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47]

goroutine 1 [running]:
main.(*Model).Score(0x0, {0xc000012, 0x3})
\t/srv/model.go:17 +0x1d
main.main()
\t/srv/main.go:4 +0x1d
created by net/http.(*Server).Serve in goroutine 1
\t/usr/local/go/src/net/http/server.go:3086 +0x4cb

goroutine 7 [select]:
net/http.(*conn).serve(0xc0000a)
\t/usr/local/go/src/net/http/server.go:2009 +0x5f
exit status 2";
        assert!(message(text).starts_with("panic: runtime error: index"));
    }

    #[test]
    fn a_panic_of_rust_with_and_without_a_backtrace() {
        let short = "thread 'main' (3978) panicked at src/main.rs:1:48:
boom
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
        let expected = "thread 'main' (3978) panicked at src/main.rs:1:48: boom";
        assert_eq!(message(short), expected);
        let long = "thread 'main' (3978) panicked at src/main.rs:1:48:
boom
stack backtrace:
   0: std::panicking::begin_panic
             at /rustc/5980/library/std/src/panicking.rs:761:5
   1: r::main
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.";
        assert_eq!(message(long), expected);
        let old = "thread 'main' panicked at 'boom', src/main.rs:1:48
stack backtrace:
   0: rust_begin_unwind";
        assert_eq!(
            message(old),
            "thread 'main' panicked at 'boom', src/main.rs:1:48"
        );
        // Only the first panic of a process has the note.
        assert_eq!(
            message("thread 'w' panicked at a.rs:1:2:\nagain"),
            "thread 'w' panicked at a.rs:1:2: again"
        );
    }

    #[test]
    fn what_only_looks_like_an_error_is_the_line_alone() {
        for line in [
            "ValueError: no",
            "0 Errors found: Error",
            "failed with IOException",
        ] {
            let mut trace = StackTrace::begin(line).unwrap();
            assert!(!trace.take("after") && !trace.take("  indented"));
            assert_eq!(trace.finish(), Err(line.to_owned()));
        }
        let long = format!("{}Error", "x".repeat(LONG));
        for line in [
            "Errors: 3",
            "  at 10:30",
            "  at the end (of it) we go",
            "no error",
            &long,
        ] {
            assert!(StackTrace::begin(line).is_none(), "{line}");
        }
    }
}
