use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;

/// A field, how code sets it, a variable that does, and how a file does.
type Setting = (
    &'static str,
    fn(LoggingBuilder) -> LoggingBuilder,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const SETTINGS: [Setting; 14] = [
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

/// Which settings each source has.
#[derive(Debug, Clone)]
struct Sources {
    file: Vec<bool>,
    env: Vec<bool>,
    code: Vec<bool>,
    /// Of the calls in code; the number behind those of all settings stands for `read_env`.
    order: Vec<usize>,
}

fn sources() -> impl Strategy<Value = Sources> {
    let some = || vec(any::<bool>(), SETTINGS.len());
    let order = Just((0..=SETTINGS.len()).collect::<Vec<_>>()).prop_shuffle();
    (some(), some(), some(), order).prop_map(|(file, env, code, order)| Sources {
        file,
        env,
        code,
        order,
    })
}

fn of_file(chosen: impl Fn(usize) -> bool) -> LoggingConfig {
    let fields = SETTINGS.iter().enumerate().filter(|(at, _)| chosen(*at));
    let fields = fields.map(|(_, (field, _, _, json))| format!("{field:?}: {json}"));
    let json = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    LoggingConfig::from_deserializer(&mut serde_json::Deserializer::from_str(&json)).unwrap()
}

fn of_env(chosen: impl Fn(usize) -> bool) -> impl Fn(&str) -> Option<OsString> {
    let chosen: Vec<_> = (0..SETTINGS.len()).filter(|at| chosen(*at)).collect();
    move |name| {
        let mut variables = chosen
            .iter()
            .filter_map(|at| SETTINGS[*at].2.split_once('='));
        let (_, value) = variables.find(|(it, _)| *it == name)?;
        Some(value.into())
    }
}

fn field(config: &LoggingConfig, at: usize) -> Value {
    serde_json::to_value(config).unwrap()[SETTINGS[at].0].clone()
}

/// What a setting is if nothing but its own sources matters.
fn alone(sources: &Sources, at: usize) -> Value {
    let mut config = of_file(|it| it == at && sources.file[at]);
    if sources.code[at] {
        let builder = (SETTINGS[at].1)(config.into());
        return field(&builder.config_over(|_| None).unwrap(), at);
    }
    config
        .apply(of_env(|it| it == at && sources.env[at]))
        .unwrap();
    field(&config, at)
}

proptest! {
    #[test]
    fn code_beats_the_environment_that_beats_the_file_in_every_order(sources in sources()) {
        let mut builder = LoggingBuilder::from(of_file(|at| sources.file[at]));
        for at in &sources.order {
            builder = match SETTINGS.get(*at) {
                None => builder.read_env(),
                Some((_, code, ..)) if sources.code[*at] => code(builder),
                Some(_) => builder,
            };
        }
        let config = builder.config_over(of_env(|at| sources.env[at])).unwrap();
        for (at, (name, ..)) in SETTINGS.iter().enumerate() {
            prop_assert_eq!(field(&config, at), alone(&sources, at), "{}", name);
        }
    }
}

#[test]
fn the_table_has_every_setting_and_other_values_in_code_than_elsewhere() {
    let all = serde_json::to_value(LoggingConfig::default()).unwrap();
    for name in all.as_object().unwrap().keys() {
        assert!(SETTINGS.iter().any(|(field, ..)| field == name), "{name}");
    }
    for (at, (name, ..)) in SETTINGS.iter().enumerate() {
        let value = |[file, env, code]: [bool; 3]| {
            let one = |it| vec![it; SETTINGS.len()];
            let (file, env, code) = (one(file), one(env), one(code));
            let order = Vec::new();
            alone(
                &Sources {
                    file,
                    env,
                    code,
                    order,
                },
                at,
            )
        };
        let code = value([false, false, true]);
        assert_ne!(code, value([true, false, false]), "{name}");
        assert_ne!(code, value([false, true, false]), "{name}");
    }
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
