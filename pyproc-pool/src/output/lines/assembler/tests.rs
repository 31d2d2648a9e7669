use super::*;
use crate::{
    output::lines::stack_trace::{LINKS, STALLED},
    text::LONGEST,
};

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
    let (mut assembler, mut entries, now) = (Assembler::default(), Vec::new(), Instant::now());
    let mut emit = |entry: Entry, context: Context| {
        entries.push((entry.exception.unwrap_or(entry.message), context.thread));
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
    assert_eq!(entries, [plain, tracebacks].concat());
}

#[test]
fn processes_that_print_at_the_same_time_do_not_get_into_each_others_tracebacks() {
    let (mut assembler, mut entries, now) = (Assembler::default(), Vec::new(), Instant::now());
    let process = |pid| Context {
        process: Some(pid),
        ..thread("MainThread")
    };
    let mut emit = |entry: Entry, context: Context| entries.push((entry.exception, context));
    for line in SIMPLE.lines() {
        assembler.line(line, process(1), now, &mut emit);
        assembler.line("plain", process(2), now, &mut emit);
    }
    assembler.flush(&mut emit);
    assert_eq!(entries.pop(), Some((Some(SIMPLE.to_owned()), process(1))));
    assert!(
        entries.iter().all(|it| *it == (None, process(2))),
        "{entries:?}"
    );
}

#[test]
fn of_many_threads_one_that_has_its_exception_is_complete_first() {
    let (mut assembler, mut entries, now) = (Assembler::default(), Vec::new(), Instant::now());
    let title = "Traceback (most recent call last):";
    for number in 0..=MOST_OPEN {
        let context = || thread(&number.to_string());
        let mut emit = |entry: Entry, context| entries.push((entry.message, context));
        assembler.line(title, context(), now, &mut emit);
        if number == 5 {
            assembler.line("KeyError", context(), now, &mut emit);
        }
    }
    assert_eq!(entries, [("KeyError".to_owned(), thread("5"))]);
}

#[test]
fn what_is_held_back_is_complete_after_a_while() {
    let (mut assembler, mut entries, now) = (Assembler::default(), 0, Instant::now());
    for line in SIMPLE.lines() {
        assembler.line(line, Context::default(), now, |_, _| {});
    }
    assert_eq!(assembler.deadline(), Some(now + QUIET));
    assembler.tick(now, |_, _| entries += 1);
    assert_eq!(entries, 0);
    assembler.tick(now + QUIET, |_, _| entries += 1);
    assert_eq!((entries, assembler.deadline()), (1, None));
    assembler.line(
        "Traceback (most recent call last):",
        Context::default(),
        now,
        |_, _| {},
    );
    assert_eq!(assembler.deadline(), Some(now + STALLED));
}

/// Level, logger, message and exception.
fn parts(entry: &Entry) -> (Level, Option<&str>, &str, Option<&str>) {
    let Entry {
        level,
        logger,
        message,
        exception,
        ..
    } = entry;
    (*level, logger.as_deref(), message, exception.as_deref())
}

#[test]
fn a_record_with_its_traceback_is_one_entry() {
    for (record, logger) in [
        ("WARNING:shop:boom", "shop"),
        ("2026-11-21 12:00:00,123 - shop - WARNING - boom", "shop"),
        (
            "2026-11-21 12:00:00.123 | WARNING  | __main__:f:7 - boom",
            "__main__",
        ),
    ] {
        let entries = entries(&format!("{record}\n{SIMPLE}\n{record}\nafter"));
        let parts: Vec<_> = entries.iter().map(parts).collect();
        let expected = [
            (Level::WARN, Some(logger), "boom", Some(SIMPLE)),
            (Level::WARN, Some(logger), "boom", None),
            (Level::INFO, None, "after", None),
        ];
        assert_eq!(parts, expected, "{record}");
    }
}

#[test]
fn an_error_of_loguru_with_its_traceback_is_one_entry() {
    let low = "2026-11-21 12:00:00.123 | WARNING  | __main__:f:5 - low";
    let boom = "2026-11-21 12:00:00.124 | ERROR    | __main__:f:7 - boom";
    let trace = "Traceback (most recent call last):

  File \"a.py\", line 9, in <module>
    if __name__ == \"__main__\": run_worker()
                               └ <function run_worker at 0x7f71f72804a0>
> File \"a.py\", line 6, in f
    try: 1 / 0

ZeroDivisionError: division by zero";
    let entries = entries(&format!("{low}\n{boom}\n{trace}\n{low}"));
    let parts: Vec<_> = entries.iter().map(parts).collect();
    let low = (Level::WARN, Some("__main__"), "low", None);
    let boom = (Level::ERROR, Some("__main__"), "boom", Some(trace));
    assert_eq!(parts, [low, boom, low]);
}

#[test]
fn an_error_that_the_first_release_reports_is_one_entry() {
    let begin = "2026-11-21 12:00:00,123 - pyproc_worker - ERROR - Error in method 'f': ";
    let entries = entries(&format!("{begin}{SIMPLE}\n\nafter"));
    let message = "Error in method 'f': ValueError: no";
    let expected = (Level::ERROR, Some("pyproc_worker"), message, Some(SIMPLE));
    assert_eq!(parts(&entries[0]), expected);
    assert_eq!(entries[1..], [Entry::plain("after")]);
}

#[test]
fn a_record_waits_for_its_traceback_only_for_a_moment() {
    let (mut assembler, mut entries, now) = (Assembler::default(), Vec::new(), Instant::now());
    assembler.line("ERROR:shop:no", Context::default(), now, |_, _| {});
    assert_eq!(assembler.deadline(), Some(now + QUIET));
    assembler.tick(now + QUIET, |entry, _| entries.push(entry.message));
    assert_eq!(entries, ["no"]);
}

#[test]
fn a_stack_trace_of_another_language_is_one_entry() {
    let javascript = "TypeError: no\n    at f (/srv/a.js:2:21) {\n  code: 3\n}";
    assert_eq!(
        entries(&format!("before\n{javascript}\n}}")),
        [
            Entry::plain("before"),
            traceback("TypeError: no", javascript),
            Entry::plain("}")
        ]
    );
    let alone = "    at f (/srv/a.js:2:21)\n    at g (/srv/a.js:3:1)";
    assert_eq!(
        entries(&format!("Oops: no\n{alone}")),
        [
            Entry::plain("Oops: no"),
            traceback("at f (/srv/a.js:2:21)", alone)
        ]
    );
}

#[test]
fn a_line_of_json_that_names_an_error_is_complete() {
    let entries = entries("{\"message\": \"TypeError: no\", \"level\": \"warning\"}");
    assert_eq!(
        parts(&entries[0]),
        (Level::WARN, None, "TypeError: no", None)
    );
}

#[test]
fn a_line_that_names_an_error_is_a_line() {
    let lines = ["TypeError: no", "TypeError: again", "ERROR:shop:no", "ok"];
    let entries = entries(&lines.join("\n"));
    assert_eq!(entries[0], Entry::plain("TypeError: no"));
    assert_eq!(entries[1], Entry::plain("TypeError: again"));
    assert_eq!(entries[2].level, Level::ERROR);
    assert_eq!(entries[3], Entry::plain("ok"));
}

/// What comes of lines that were written at once.
fn written(texts: &[&str]) -> Vec<Entry> {
    let (mut assembler, mut entries) = (Assembler::default(), Vec::new());
    let now = Instant::now();
    let mut emit = |entry, _| entries.push(entry);
    for text in texts {
        assembler.lines(text, Context::default(), now, &mut emit);
    }
    assembler.flush(emit);
    entries
}

#[test]
fn a_message_of_several_lines_is_one_entry_if_it_was_written_at_once() {
    let record = "2026-11-21 12:00:00.124 | ERROR    | __main__:f:7 - boom\nand more";
    let trace = "Traceback (most recent call last):

  File \"a.py\", line 9, in <module>
    if __name__ == \"__main__\": run_worker()

ValueError: bad

value
a note
of two lines


The above exception was the direct cause of the following exception:


Traceback (most recent call last):

> File \"a.py\", line 6, in f
    raise KeyError

KeyError: \"x\"
a note";
    let entries = written(&[&format!("{record}\n{trace}"), "after", "a\nb"]);
    let parts: Vec<_> = entries.iter().map(parts).collect();
    let logger = Some("__main__");
    let boom = (Level::ERROR, logger, "boom\nand more", Some(trace));
    assert_eq!(parts[0], boom);
    assert_eq!(entries[1..], ["after", "a", "b"].map(Entry::plain));
}

#[test]
fn a_printed_exception_of_several_lines_is_one_entry() {
    let title = "Traceback (most recent call last):";
    let frame = "  File \"a.py\", line 1, in <module>\n    f()";
    let error = "ValueError: bad\nvalue";
    let whole = [title, frame, error].join("\n");
    // `traceback` prints it part by part.
    let entries = written(&[title, frame, error, "after"]);
    let expected = traceback("ValueError: bad\nvalue", &whole);
    assert_eq!(entries, [expected, Entry::plain("after")]);
}

#[test]
fn lines_that_are_written_at_once_are_entries_of_their_own_if_they_begin_any() {
    let records = "WARNING:shop:one\nWARNING:shop:two\n{\"message\": \"three\"}\nfour";
    let messages: Vec<_> = written(&[records])
        .into_iter()
        .map(|it| it.message)
        .collect();
    assert_eq!(messages, ["one", "two", "three", "four"]);
    let twice = format!("{SIMPLE}\n\n{SIMPLE}\nTypeError: alone\nplain");
    assert_eq!(written(&[&twice]).len(), 2);
    assert_eq!(written(&["TypeError: alone\nplain"]).len(), 2);
}

#[test]
fn a_warning_of_python_is_one_entry_with_its_source() {
    let warning = "/srv/a.py:3: UserWarning: old\n  warnings.warn(\"old\")";
    let resource = "/srv/a.py:5: ResourceWarning: unclosed file
  f()
Object allocated at (most recent call last):
  File \"/srv/a.py\", lineno 4
    open(\"x\")";
    let untraced = "sys:1: ResourceWarning: unclosed file
ResourceWarning: Enable tracemalloc to get the object allocation traceback";
    let entries = entries(&[warning, resource, untraced, "after"].join("\n"));
    let parts: Vec<_> = entries.iter().map(parts).collect();
    let warned = |text| (Level::WARN, Some("py.warnings"), text, None);
    assert_eq!(
        parts[..3],
        [warned(warning), warned(resource), warned(untraced)]
    );
    assert_eq!(entries[3..], [Entry::plain("after")]);
}

#[test]
fn the_last_lines_of_native_code_are_one_entry() {
    let terminate = "terminate called after throwing an instance of 'std::runtime_error'
  what():  no model";
    let fatal = "F0101 12:00:00.000000 123 model.cc:17] Check failed: n > 0
*** Check failure stack trace: ***
    @     0x7f0000000000  google::LogMessage::Fail()
    @              (nil)  (unknown)";
    let entries = entries(&format!("{terminate}\n{fatal}\nafter"));
    let parts: Vec<_> = entries.iter().map(parts).collect();
    let stack = fatal.split_once('\n').unwrap().1;
    assert_eq!(
        parts,
        [
            (Level::ERROR, None, terminate, None),
            (Level::ERROR, None, "Check failed: n > 0", Some(stack)),
            (Level::INFO, None, "after", None),
        ]
    );
}

#[test]
fn empty_lines_are_dropped() {
    assert_eq!(entries("\n  \n"), []);
}
