use super::*;

fn read(json: &str) -> Result<PoolConfig, ConfigError> {
    PoolConfig::from_deserializer(&mut serde_json::Deserializer::from_str(json))
}

fn wrong_field(json: &str) -> String {
    read(json).unwrap_err().field
}

#[test]
fn durations_are_read_as_people_write_them() {
    let config = read(
        r#"{"worker_script": "w.py", "start_timeout": "250ms",
            "restart": {"max_backoff": "1m 30s"}}"#,
    )
    .unwrap();
    assert_eq!(config.start_timeout, Duration::from_millis(250));
    assert_eq!(config.restart.max_backoff, Duration::from_secs(90));
    assert_eq!(config.restart.multiplier, 2.0);
}

#[test]
fn what_is_written_can_be_read_again() {
    let config = PoolConfig {
        worker_script: Some("w.py".into()),
        ..PoolConfig::default()
    };
    assert_eq!(
        read(&serde_json::to_string(&config).unwrap()).unwrap(),
        config
    );
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let error = read(r#"{"worker_script": "w.py", "wrokers": 2}"#).unwrap_err();
    assert_eq!(error.field, "wrokers");
    assert!(error.reason.contains("unknown field"), "{error}");
}

#[test]
fn every_bad_value_names_its_field() {
    for (json, field) in [
        (r#"{"worker_script": "w", "workers": 0}"#, "workers"),
        (r#"{"worker_script": "w", "workers": "two"}"#, "workers"),
        (
            r#"{"worker_script": "w", "max_in_flight": 0}"#,
            "max_in_flight",
        ),
        (
            r#"{"worker_script": "w", "max_frame_size": 10}"#,
            "max_frame_size",
        ),
        (
            r#"{"worker_script": "w", "start_timeout": "soon"}"#,
            "start_timeout",
        ),
        (
            r#"{"worker_script": "w", "request_timeout": "0s"}"#,
            "request_timeout",
        ),
        (
            r#"{"worker_script": "w", "restart": {"initial_backoff": 3}}"#,
            "restart.initial_backoff",
        ),
        (
            r#"{"worker_script": "w", "restart": {"max_backoff": "1ms"}}"#,
            "restart.max_backoff",
        ),
        (
            r#"{"worker_script": "w", "restart": {"multiplier": 0.5}}"#,
            "restart.multiplier",
        ),
        (r#"{"worker_script": "w", "output": "loud"}"#, "output"),
        (
            r#"{"worker_script": "w", "max_protocol_version": 3}"#,
            "max_protocol_version",
        ),
        (r#"{"worker_script": "w", "spin": "2ms"}"#, "spin"),
        (
            r#"{"worker_script": "w", "external_sockets": ["s"]}"#,
            "external_sockets",
        ),
    ] {
        assert_eq!(wrong_field(json), field, "{json}");
    }
}

#[test]
fn a_file_may_leave_the_script_to_others_but_a_pool_needs_one() {
    let error = read("{}").unwrap().validate().unwrap_err();
    assert_eq!(error.field, "worker_script");
}

const SECRET: &str = "hunter2";

#[test]
fn debug_shows_names_of_variables_and_the_number_of_arguments_only() {
    let config = PoolConfig {
        args: vec!["--token".into(), SECRET.into()],
        env: [("API_KEY".into(), SECRET.into())].into(),
        ..PoolConfig::default()
    };
    let builder = crate::PoolBuilder::from(config.clone());
    for text in [format!("{config:?}"), format!("{builder:#?}")] {
        assert!(
            !text.contains(SECRET) && !text.contains("--token"),
            "{text}"
        );
        assert!(
            text.contains("API_KEY") && text.contains("args: 2"),
            "{text}"
        );
    }
}

#[test]
fn no_error_repeats_an_argument_or_the_value_of_a_variable() {
    for json in [
        r#"{"worker_script": "w", "args": "hunter2"}"#,
        r#"{"worker_script": "w", "args": [["hunter2"]]}"#,
        r#"{"worker_script": "w", "args": ["hunter2\u0000"]}"#,
        r#"{"worker_script": "w", "args": {"hunter2": 1}}"#,
        r#"{"worker_script": "w", "env": "hunter2"}"#,
        r#"{"worker_script": "w", "env": ["hunter2"]}"#,
        r#"{"worker_script": "w", "env": {"KEY": ["hunter2"]}}"#,
        r#"{"worker_script": "w", "env": {"KEY": "hunter2\u0000"}}"#,
    ] {
        let error = read(json).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains(SECRET), "{text}");
        assert!(
            error.field.starts_with("args") || error.field.starts_with("env"),
            "{text}"
        );
    }
    let number = read(r#"{"worker_script": "w", "env": {"PIN": 2468}}"#).unwrap_err();
    assert!(
        !number.to_string().contains("2468") && number.field == "env.PIN",
        "{number}"
    );
}

#[test]
fn backoff_grows_to_its_limit_and_jitter_only_shortens_it() {
    let restart = RestartConfig::default();
    let waits = [1, 2, 3, 8, 4_000_000_000].map(|failures| restart.backoff(failures, 0.0));
    let expected = [100, 200, 400, 10_000, 10_000].map(Duration::from_millis);
    assert_eq!(waits, expected);
    assert_eq!(restart.backoff(1, 1.0), Duration::from_millis(50));

    let longest = RestartConfig {
        initial_backoff: Duration::MAX,
        max_backoff: Duration::MAX,
        ..restart
    };
    assert_eq!(longest.backoff(1, 0.0), Duration::MAX);
}

fn applied(variables: &[(&str, &str)]) -> Result<PoolConfig, ConfigError> {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
    let lookup = |name: &str| find(name).map(|(_, value)| value.into());
    let settings = Layers::default().read_env();
    Ok(settings.in_effect(read_declared, PoolConfig::check_what_is_set, lookup)?)
}

#[test]
fn variables_override_defaults() {
    let config = applied(&[
        ("PYPROC_WORKERS", "3"),
        ("PYPROC_START_TIMEOUT", "5s"),
        ("PYPROC_RESTART_MULTIPLIER", "1.5"),
        ("PYPROC_EXTERNAL_SOCKETS", "/run/a.sock:/run/b.sock"),
        ("PYPROC_OUTPUT", "discard"),
        ("PYPROC_PYTHON_LOGS", "false"),
        ("PYPROC_CALL_LOG", "info"),
        ("PYPROC_SLOW_CALL", "1s"),
    ])
    .unwrap();
    assert_eq!(config.workers, 3);
    assert_eq!(config.start_timeout, Duration::from_secs(5));
    assert_eq!(config.restart.multiplier, 1.5);
    assert_eq!(
        config.external_sockets,
        ["/run/a.sock", "/run/b.sock"].map(PathBuf::from)
    );
    assert_eq!(config.output, WorkerOutput::Discard);
    assert!(!config.python_logs);
    assert_eq!(config.call_log, LogLevel::Info);
    assert_eq!(config.slow_call, Duration::from_secs(1));
    assert_eq!(config.max_queue, PoolConfig::default().max_queue);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = applied(&[
        ("PYPROC_WORKERS", ""),
        ("PYPROC_SOCKET_DIR", ""),
        ("PYPROC_EXTERNAL_SOCKETS", ""),
    ])
    .unwrap();
    assert_eq!(config, PoolConfig::default());
}

#[test]
fn a_value_out_of_range_names_the_variable_too() {
    let error = applied(&[("PYPROC_RESTART_MULTIPLIER", "0.1")]).unwrap_err();
    assert_eq!(error.field, "PYPROC_RESTART_MULTIPLIER");
}

#[test]
fn a_bad_value_is_an_error_that_names_the_variable() {
    for (name, value) in [
        ("PYPROC_WORKERS", "many"),
        ("PYPROC_WORKERS", "-1"),
        ("PYPROC_REQUEST_TIMEOUT", "5"),
        ("PYPROC_RESTART_MULTIPLIER", "twice"),
        ("PYPROC_OUTPUT", "loud"),
        ("PYPROC_CALL_LOG", "verbose"),
        ("PYPROC_LOG_RATE", "-1"),
    ] {
        let error = applied(&[(name, value)]).unwrap_err();
        assert_eq!(error.field, name);
        assert!(error.reason.contains(value), "{error}");
    }
}
