//! The log of a whole program. Each case runs in a process of its own, which this program
//! starts as a copy of itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    env, fmt, io,
    process::{Command, Stdio},
};

use pyproc_logging::{InitError, Levels, LoggingBuilder, LoggingConfig, request_span};
use support::Object;
use tracing::{info, warn};

const CASE: &str = "PYPROC_LOG_TEST_CASE";

fn main() {
    match env::var(CASE).as_deref() {
        Err(_) => all(),
        Ok("many") => many(),
        Ok("twice") => twice(),
        Ok("nested") => nested(),
        Ok("lock") => lock(),
        Ok("off") => off(),
        Ok("echo") => echo(0),
        Ok("queued echo") => echo(100),
        Ok(other) => panic!("no case {other}"),
    }
}

fn all() {
    every_line_is_in_the_pipe_when_the_program_ends();
    the_environment_sets_level_format_and_output();
    a_second_log_is_refused_and_the_first_goes_on();
    a_value_that_logs_while_it_is_written_gets_a_line_of_its_own();
    a_lock_on_the_standard_output_does_not_hold_up_the_log();
    switched_off_not_even_spans_are_kept_until_another_thread_changes_the_level();
    an_output_that_logs_does_not_feed_itself();
    println!("7 cases passed");
}

/// What a case writes to its stdout and stderr.
fn run(case: &str, variables: &[(&str, &str)]) -> (String, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PYPROC_LOG_") {
            command.env_remove(name);
        }
    }
    command
        .env(CASE, case)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{case}: {stdout}{stderr}");
    (stdout, stderr)
}

fn many() {
    let _log = pyproc_logging::init(LoggingConfig::from_env().unwrap()).unwrap();
    let _request = request_span!("r-1").entered();
    for number in 0..20_000 {
        info!(number, "m");
    }
    warn!("end");
}

fn every_line_is_in_the_pipe_when_the_program_ends() {
    let (stdout, stderr) = run("many", &[]);
    assert_eq!(stderr, "");
    let lines: Vec<_> = stdout.lines().map(Object::parse).collect();
    assert_eq!(lines.len(), 20_001);
    for (number, line) in lines[..20_000].iter().enumerate() {
        assert_eq!(line.get("number").unwrap(), number);
        assert_eq!(line.text("request_id"), "r-1");
    }
}

fn the_environment_sets_level_format_and_output() {
    let variables = [
        ("PYPROC_LOG_LEVEL", "warn"),
        ("PYPROC_LOG_FORMAT", "text"),
        ("PYPROC_LOG_OUTPUT", "stderr"),
        ("PYPROC_LOG_REDACT", "request_id"),
    ];
    let (stdout, stderr) = run("many", &variables);
    assert_eq!(stdout, "");
    assert_eq!(stderr.lines().count(), 1);
    assert!(
        stderr.contains(" WARN process: end request_id=[redacted]"),
        "{stderr}"
    );
}

fn twice() {
    let log = pyproc_logging::init(LoggingConfig::default()).unwrap();
    info!("first");
    let second = pyproc_logging::init(LoggingConfig::default());
    assert!(
        matches!(second, Err(InitError::AlreadySet(_))),
        "{second:?}"
    );
    info!("second");
    drop(log);
}

fn a_second_log_is_refused_and_the_first_goes_on() {
    let (stdout, _) = run("twice", &[]);
    let messages: Vec<_> = stdout
        .lines()
        .map(|line| Object::parse(line).text("msg"))
        .collect();
    assert_eq!(messages, ["first", "second"]);
}

/// Only with a global subscriber does such an event reach it: `tracing` drops it in a scoped one.
fn nested() {
    struct Logs;
    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!(inner = 1, "from within");
            f.write_str("logs")
        }
    }
    let _log = pyproc_logging::init(LoggingConfig::default()).unwrap();
    let _span = tracing::info_span!("s", in_span = ?Logs).entered();
    info!(in_event = ?Logs, "outer");
}

fn a_value_that_logs_while_it_is_written_gets_a_line_of_its_own() {
    let (stdout, _) = run("nested", &[]);
    let lines: Vec<_> = stdout
        .lines()
        .map(|line| Object::parse(line).without_time())
        .collect();
    assert_eq!(
        lines,
        [
            r#"level="INFO" msg="from within" inner=1"#,
            r#"level="INFO" msg="from within" inner=1 in_span="logs""#,
            r#"level="INFO" msg="outer" in_event="logs" in_span="logs""#,
        ]
    );
}

fn lock() {
    let log = pyproc_logging::init(LoggingConfig::default()).unwrap();
    let _stdout = std::io::stdout().lock();
    info!("m");
    assert!(log.handle().flush(std::time::Duration::from_secs(30)));
}

fn a_lock_on_the_standard_output_does_not_hold_up_the_log() {
    let (stdout, _) = run("lock", &[]);
    assert_eq!(stdout.lines().count(), 1);
}

fn off() {
    let log = pyproc_logging::init(LoggingConfig::from_env().unwrap()).unwrap();
    let span = || tracing::info_span!("s", a = 1);
    assert!(span().is_disabled());
    assert!(!tracing::enabled!(tracing::Level::ERROR));
    info!("off");
    let handle = log.handle();
    std::thread::spawn(move || handle.set_level(Levels::WARN))
        .join()
        .unwrap();
    assert!(!tracing::enabled!(tracing::Level::INFO));
    span().in_scope(|| warn!("on"));
}

fn switched_off_not_even_spans_are_kept_until_another_thread_changes_the_level() {
    let (stdout, _) = run("off", &[("PYPROC_LOG_LEVEL", "off")]);
    let lines: Vec<_> = stdout
        .lines()
        .map(|line| Object::parse(line).without_time())
        .collect();
    assert_eq!(lines, [r#"level="WARN" msg="on" a=1"#]);
}

fn echo(queue_lines: usize) {
    struct Logs;
    impl io::Write for Logs {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            info!("from the output");
            io::stdout().write(lines)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let builder = LoggingBuilder::default()
        .queue_lines(queue_lines)
        .writer(Logs);
    let _log = builder.init().unwrap();
    info!("m");
}

fn an_output_that_logs_does_not_feed_itself() {
    for case in ["echo", "queued echo"] {
        let (stdout, _) = run(case, &[]);
        assert_eq!(stdout.lines().count(), 1, "{case}: {stdout}");
    }
}
