use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;

/// A field, how code sets it, a variable that does (`args` and `env` have none), and how a file does.
type Setting = (
    &'static str,
    fn(PoolBuilder) -> PoolBuilder,
    &'static str,
    &'static str,
);

const MILLI: Duration = Duration::from_millis(1);
const RESTART: RestartConfig = RestartConfig {
    max_attempts: 3,
    initial_backoff: MILLI,
    max_backoff: MILLI,
    multiplier: 3.0,
};

#[rustfmt::skip]
const SETTINGS: [Setting; 20] = [
    ("workers", |it| it.workers(3), "PYPROC_WORKERS=5", "7"),
    ("max_in_flight", |it| it.max_in_flight(3), "PYPROC_MAX_IN_FLIGHT=5", "7"),
    ("max_queue", |it| it.max_queue(3), "PYPROC_MAX_QUEUE=5", "7"),
    ("python_exec", |it| it.python_exec("code"), "PYPROC_PYTHON_EXEC=env", r#""file""#),
    ("worker_script", |it| it.worker_script("code"), "PYPROC_WORKER_SCRIPT=env", r#""file""#),
    ("args", |it| it.args(["code"]), "", r#"["file"]"#),
    ("env", |it| it.env("A", "code"), "", r#"{"A": "file", "B": "file"}"#),
    ("working_dir", |it| it.working_dir("code"), "PYPROC_WORKING_DIR=env", r#""file""#),
    ("start_timeout", |it| it.start_timeout(MILLI), "PYPROC_START_TIMEOUT=5ms", r#""7ms""#),
    ("request_timeout", |it| it.request_timeout(MILLI), "PYPROC_REQUEST_TIMEOUT=5ms", r#""7ms""#),
    ("socket_dir", |it| it.socket_dir("code"), "PYPROC_SOCKET_DIR=env", r#""file""#),
    ("max_frame_size", |it| it.max_frame_size(3000), "PYPROC_MAX_FRAME_SIZE=5000", "7000"),
    ("max_protocol_version", |it| it.max_protocol_version(2), "PYPROC_MAX_PROTOCOL_VERSION=1", "1"),
    ("spin", |it| it.spin(MILLI), "PYPROC_SPIN=5us", r#""7us""#),
    ("restart", |it| it.restart(RESTART), "PYPROC_RESTART_MAX_ATTEMPTS=5", r#"{"multiplier": 7}"#),
    ("output", |it| it.output(WorkerOutput::Log), "PYPROC_OUTPUT=discard", r#""inherit""#),
    ("python_logs", |it| it.python_logs(true), "PYPROC_PYTHON_LOGS=false", "false"),
    ("log_rate", |it| it.log_rate(3), "PYPROC_LOG_RATE=5", "7"),
    ("call_log", |it| it.call_log(LogLevel::Info), "PYPROC_CALL_LOG=trace", r#""warn""#),
    ("slow_call", |it| it.slow_call(MILLI), "PYPROC_SLOW_CALL=5ms", r#""7ms""#),
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

fn of_file(chosen: impl Fn(usize) -> bool) -> PoolConfig {
    let fields = SETTINGS.iter().enumerate().filter(|(at, _)| chosen(*at));
    let fields = fields.map(|(_, (field, _, _, json))| format!("{field:?}: {json}"));
    let json = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    PoolConfig::from_deserializer(&mut serde_json::Deserializer::from_str(&json)).unwrap()
}

fn of_env(chosen: impl Fn(usize) -> bool) -> impl Fn(&str) -> Option<OsString> {
    let variables: Vec<_> = SETTINGS
        .iter()
        .enumerate()
        .filter(|(at, _)| chosen(*at))
        .filter_map(|(_, (_, _, variable, _))| variable.split_once('='))
        .collect();
    move |name| {
        let (_, value) = variables.iter().find(|(it, _)| *it == name)?;
        Some(value.into())
    }
}

fn field(config: &PoolConfig, at: usize) -> Value {
    serde_json::to_value(config).unwrap()[SETTINGS[at].0].clone()
}

/// What a setting is if nothing but its own sources matters.
fn alone(sources: &Sources, at: usize) -> Value {
    let mut config = of_file(|it| it == at && sources.file[at]);
    if sources.code[at] {
        return field(&(SETTINGS[at].1)(config.into()).changed_base(), at);
    }
    config
        .apply(of_env(|it| it == at && sources.env[at]))
        .unwrap();
    field(&config, at)
}

impl PoolBuilder {
    fn changed_base(&self) -> PoolConfig {
        self.changed(self.base.clone())
    }
}

proptest! {
    #[test]
    fn code_beats_the_environment_that_beats_the_file_in_every_order(sources in sources()) {
        let mut builder = PoolBuilder::from(of_file(|at| sources.file[at]));
        for at in &sources.order {
            builder = match SETTINGS.get(*at) {
                None => builder.read_env(),
                Some((_, code, ..)) if sources.code[*at] => code(builder),
                Some(_) => builder,
            };
        }
        let config = builder.config_over(of_env(|at| sources.env[at]));
        let script = [&sources.file, &sources.env, &sources.code].iter().any(|it| it[4]);
        prop_assert_eq!(config.is_ok(), script);
        if let Ok(config) = config {
            for (at, (name, ..)) in SETTINGS.iter().enumerate() {
                prop_assert_eq!(field(&config, at), alone(&sources, at), "{}", name);
            }
        }
    }
}

#[test]
fn the_table_has_every_setting_and_three_values_of_it() {
    let all = serde_json::to_value(PoolConfig::default()).unwrap();
    for name in all.as_object().unwrap().keys() {
        let known = SETTINGS.iter().any(|(field, ..)| field == name);
        assert!(known || name == "external_sockets", "{name}");
    }
    for (at, (name, ..)) in SETTINGS.iter().enumerate() {
        let value = |file, env, code| {
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
        let (file, env, code) = (
            value(true, false, false),
            value(false, true, false),
            value(false, false, true),
        );
        assert_ne!(code, file, "{name}");
        assert!(code != env || SETTINGS[at].2.is_empty(), "{name}");
    }
}

#[test]
fn external_sockets_of_code_beat_those_of_the_environment() {
    let set = |name: &str| (name == "PYPROC_EXTERNAL_SOCKETS").then(|| "/env.sock".into());
    let builder = PoolBuilder::default().external_sockets(["/code.sock"]);
    let config = builder.clone().read_env().config_over(set).unwrap();
    assert_eq!(config.external_sockets, [PathBuf::from("/code.sock")]);
    // Not asked for, the environment counts for nothing.
    let config = PoolBuilder::default().config_over(set);
    assert_eq!(config.unwrap_err().field, "worker_script");
}

#[test]
fn an_error_names_whose_value_it_is() {
    let set = |name: &str| (name == "PYPROC_WORKERS").then(|| "0".into());
    let builder = PoolBuilder::default().worker_script("w.py").read_env();
    let error = builder.config_over(set).unwrap_err();
    assert_eq!(error.field, "PYPROC_WORKERS");
    let config = builder.clone().workers(2).config_over(set).unwrap();
    assert_eq!(config.workers, 2);
    let error = builder.workers(5000).config_over(set).unwrap_err();
    assert_eq!(error.field, "workers");
}
