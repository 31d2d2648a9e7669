use std::{collections::HashMap, ffi::OsString};

use super::*;

fn read(json: &str) -> Result<LoggingConfig, ConfigError> {
    LoggingConfig::from_deserializer(&mut serde_json::Deserializer::from_str(json))
}

#[test]
fn what_is_written_can_be_read_again() {
    let config = LoggingConfig {
        level: "warn,a=debug".parse().unwrap(),
        format: LogFormat::Text,
        name: Some("n".into()),
        flush_timeout: Duration::from_millis(20),
        fields: [("pod_name".into(), "shop-1".into())].into(),
        redact: vec!["password".into()],
        travelling: Vec::new(),
        ..LoggingConfig::default()
    };
    assert_eq!(
        read(&serde_json::to_string(&config).unwrap()).unwrap(),
        config
    );
    assert_eq!(read("{}").unwrap(), LoggingConfig::default());
}

#[test]
fn every_bad_value_names_its_field() {
    for (json, field) in [
        (r#"{"levle": "info"}"#, "levle"),
        (r#"{"level": "loud"}"#, "level"),
        (r#"{"level": 3}"#, "level"),
        (r#"{"format": "xml"}"#, "format"),
        (r#"{"trace_enabled": "yes"}"#, "trace_enabled"),
        (r#"{"output": "file"}"#, "output"),
        (r#"{"color": "red"}"#, "color"),
        (r#"{"queue_lines": -1}"#, "queue_lines"),
        (r#"{"queue_bytes": 10}"#, "queue_bytes"),
        (r#"{"flush_timeout": 5}"#, "flush_timeout"),
        (r#"{"max_value_bytes": 1}"#, "max_value_bytes"),
        (r#"{"fields": {"level": "x"}}"#, "fields"),
        (r#"{"fields": {"": "x"}}"#, "fields"),
        (r#"{"fields": {"a\nb": "x"}}"#, "fields"),
        (r#"{"fields": {"a": 3}}"#, "fields.a"),
        (r#"{"redact": [""]}"#, "redact"),
        (r#"{"travelling": [""]}"#, "travelling"),
        (r#"{"travelling": ["user id"]}"#, "travelling"),
    ] {
        assert_eq!(read(json).unwrap_err().field, field, "{json}");
    }
}

fn applied(variables: &[(&str, &str)]) -> Result<LoggingConfig, ConfigError> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let lookup = |name: &str| variables.get(name).map(OsString::from);
    let settings = Layers::default().read_env();
    Ok(settings.in_effect(LoggingConfig::apply, LoggingConfig::check, lookup)?)
}

#[test]
fn each_variable_sets_its_field() {
    let config = applied(&[
        ("PYPROC_LOG_LEVEL", "debug,hyper=off"),
        ("PYPROC_LOG_FORMAT", "text"),
        ("PYPROC_LOG_TRACE_ENABLED", "False"),
        ("PYPROC_LOG_TARGET", "1"),
        ("PYPROC_LOG_OUTPUT", "stderr"),
        ("PYPROC_LOG_COLOR", "never"),
        ("PYPROC_LOG_NAME", "billing"),
        ("PYPROC_LOG_QUEUE_LINES", "0"),
        ("PYPROC_LOG_QUEUE_BYTES", "8192"),
        ("PYPROC_LOG_FLUSH_TIMEOUT", "250ms"),
        ("PYPROC_LOG_MAX_VALUE_BYTES", "100"),
        ("PYPROC_LOG_FIELDS", "version=1.4.2"),
        ("POD_NAME", "shop-1"),
        ("PYPROC_LOG_REDACT", "password, token"),
        ("PYPROC_LOG_TRAVELLING", "request_id, tenant"),
    ]);
    let expected = LoggingConfig {
        level: Levels::DEBUG.with_target("hyper", tracing::level_filters::LevelFilter::OFF),
        format: LogFormat::Text,
        trace_enabled: false,
        target: true,
        output: LogOutput::Stderr,
        color: Color::Never,
        name: Some("billing".into()),
        queue_lines: 0,
        queue_bytes: 8192,
        flush_timeout: Duration::from_millis(250),
        max_value_bytes: 100,
        fields: [("pod_name", "shop-1"), ("version", "1.4.2")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        redact: vec!["password".into(), "token".into()],
        travelling: vec!["request_id".into(), "tenant".into()],
    };
    assert_eq!(config.unwrap(), expected);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = applied(&[("PYPROC_LOG_LEVEL", ""), ("PYPROC_LOG_REDACT", "")]).unwrap();
    assert_eq!(config, LoggingConfig::default());
}

#[test]
fn a_bad_value_is_an_error_that_names_the_variable() {
    for (name, value) in [
        ("PYPROC_LOG_LEVEL", "verbose"),
        ("PYPROC_LOG_FORMAT", "xml"),
        ("PYPROC_LOG_TRACE_ENABLED", "yes"),
        ("PYPROC_LOG_TARGET", "2"),
        ("PYPROC_LOG_OUTPUT", "file"),
        ("PYPROC_LOG_COLOR", "red"),
        ("PYPROC_LOG_QUEUE_LINES", "many"),
        ("PYPROC_LOG_QUEUE_BYTES", "1"),
        ("PYPROC_LOG_FLUSH_TIMEOUT", "5"),
        ("PYPROC_LOG_MAX_VALUE_BYTES", "-1"),
        ("PYPROC_LOG_FIELDS", "version"),
        ("PYPROC_LOG_FIELDS", "level=x"),
        ("PYPROC_LOG_REDACT", "password,,token"),
        ("PYPROC_LOG_TRAVELLING", "a;b"),
    ] {
        let error = applied(&[(name, value)]).unwrap_err();
        assert_eq!(error.field, name);
    }
}
