use pyproc_settings::testing::{self, BySerde, Case};

use super::*;

const MILLI: Duration = Duration::from_millis(1);
const RESTART: RestartConfig = RestartConfig {
    max_attempts: 3,
    initial_backoff: MILLI,
    max_backoff: MILLI,
    multiplier: 3.0,
};

#[rustfmt::skip]
const SETTINGS: [BySerde<PoolBuilder>; 20] = [
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

impl testing::Builder for PoolBuilder {
    type Config = PoolConfig;

    fn read_env(self) -> Self {
        self.read_env()
    }

    fn in_effect(&self, lookup: &dyn Fn(&str) -> Option<OsString>) -> PoolConfig {
        let check = PoolConfig::check_what_is_set;
        self.settings
            .in_effect(read_declared, check, lookup)
            .unwrap()
    }
}

#[test]
fn code_beats_the_environment_that_beats_the_file_in_every_order() {
    let cases = SETTINGS.map(Case::by_serde);
    testing::code_beats_environment_beats_file(&cases, &["external_sockets"]);
}

#[test]
fn the_readme_has_the_table_of_the_settings() {
    testing::readme_has_settings::<PoolConfig>(include_str!("../../README.md"));
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
