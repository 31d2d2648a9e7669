use pyproc_settings::testing::{self, BySerde, Case};

use super::*;

#[rustfmt::skip]
const SETTINGS: [BySerde<LoggingBuilder>; 14] = [
    ("fields", |it| it.field("a", "code"), "PYPROC_LOG_FIELDS=a=env", r#"{"a": "file"}"#),
    ("level", |it| it.level(Levels::DEBUG), "PYPROC_LOG_LEVEL=error", r#""warn""#),
    ("format", |it| it.format(LogFormat::Json), "PYPROC_LOG_FORMAT=text", r#""text""#),
    ("trace_enabled", |it| it.trace_enabled(true), "PYPROC_LOG_TRACE_ENABLED=false", "false"),
    ("target", |it| it.target(false), "PYPROC_LOG_TARGET=true", "true"),
    ("output", |it| it.output(LogOutput::Stdout), "PYPROC_LOG_OUTPUT=stderr", r#""stderr""#),
    ("color", |it| it.color(Color::Auto), "PYPROC_LOG_COLOR=never", r#""always""#),
    ("name", |it| it.name("code"), "PYPROC_LOG_NAME=env", r#""file""#),
    ("queue_lines", |it| it.queue_lines(3), "PYPROC_LOG_QUEUE_LINES=5", "7"),
    ("queue_bytes", |it| it.queue_bytes(5000), "PYPROC_LOG_QUEUE_BYTES=6000", "7000"),
    ("flush_timeout", |it| it.flush_timeout(Duration::ZERO), "PYPROC_LOG_FLUSH_TIMEOUT=5ms", r#""7ms""#),
    ("max_value_bytes", |it| it.max_value_bytes(100), "PYPROC_LOG_MAX_VALUE_BYTES=200", "300"),
    ("redact", |it| it.redact(["code"]), "PYPROC_LOG_REDACT=env", r#"["file"]"#),
    ("travelling", |it| it.travelling(["code"]), "PYPROC_LOG_TRAVELLING=env", r#"["file"]"#),
];

impl testing::Builder for LoggingBuilder {
    type Config = LoggingConfig;

    fn read_env(self) -> Self {
        self.read_env()
    }

    fn in_effect(&self, lookup: &dyn Fn(&str) -> Option<OsString>) -> LoggingConfig {
        self.config_over(lookup).unwrap()
    }
}

#[test]
fn code_beats_the_environment_that_beats_the_file_in_every_order() {
    testing::code_beats_environment_beats_file(&SETTINGS.map(Case::by_serde), &[]);
}

#[test]
fn the_readme_has_the_table_of_the_settings() {
    testing::readme_has_settings::<LoggingConfig>(include_str!("../../README.md"));
}

#[test]
fn the_environment_counts_only_if_asked_for() {
    let set = |name: &str| (name == "PYPROC_LOG_QUEUE_LINES").then(|| "3".into());
    let builder = LoggingBuilder::default();
    let config = builder.config_over(set).unwrap();
    assert_eq!(config, LoggingConfig::default());
    assert_eq!(builder.read_env().config_over(set).unwrap().queue_lines, 3);
}

#[test]
fn an_error_names_whose_value_it_is() {
    let set = |name: &str| (name == "PYPROC_LOG_QUEUE_BYTES").then(|| "1".into());
    let builder = || LoggingBuilder::default().read_env();
    let error = builder().config_over(set).unwrap_err();
    assert_eq!(error.field, "PYPROC_LOG_QUEUE_BYTES");
    let error = builder().queue_bytes(2).config_over(set).unwrap_err();
    assert_eq!(error.field, "queue_bytes");
}
