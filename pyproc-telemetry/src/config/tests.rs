use super::*;

fn read(json: &str) -> Result<Config, ConfigError> {
    Config::from_deserializer(&mut serde_json::Deserializer::from_str(json))
}

#[test]
fn every_section_reads_from_serde() {
    let config = read(
        r#"{"service_name": "shop", "enabled": true, "exporter_type": "jaeger", "sampling_rate": 0.25,
            "sampler": "traceidratio", "propagators": ["b3", "b3multi", "tracecontext"],
            "tail_sampling": {"slower_than": "250ms"},
            "otlp": {"endpoint": "http://c:4318", "headers": {"x-api-key": "s3cret"}, "timeout": "3s"},
            "batch": {"max_queue_size": 10}, "resource_attributes": {"a": "b"}}"#,
    )
    .unwrap();
    assert_eq!(config.exporter_type, ExporterType::Jaeger);
    assert_eq!(config.sampler, SamplerType::Ratio);
    let tail = config.tail_sampling.unwrap();
    assert!(tail.failed);
    assert_eq!(tail.slower_than, Some(Duration::from_millis(250)));
    assert_eq!(config.otlp.timeout, Duration::from_secs(3));
    assert_eq!(config.batch.max_queue_size, 10);
    assert_eq!(config.batch.max_export_batch_size, 512);
}

#[test]
fn every_bad_value_names_its_field() {
    for (json, field) in [
        (r#"{"servicename": "x"}"#, "servicename"),
        (r#"{"service_name": " "}"#, "service_name"),
        (r#"{"sampling_rate": 1.5}"#, "sampling_rate"),
        (r#"{"sampling_rate": -0.1}"#, "sampling_rate"),
        (r#"{"exporter_type": "zipkin"}"#, "exporter_type"),
        (r#"{"propagators": ["b4"]}"#, "propagators[0]"),
        (r#"{"otlp": {"endpoint": "collector"}}"#, "otlp.endpoint"),
        (r#"{"otlp": {"timeout": "0s"}}"#, "otlp.timeout"),
        (
            r#"{"batch": {"max_queue_size": 0}}"#,
            "batch.max_queue_size",
        ),
        (r#"{"tail_sampling": {"slow": "1s"}}"#, "tail_sampling.slow"),
    ] {
        assert_eq!(read(json).unwrap_err().field, field, "{json}");
    }
}

#[test]
fn a_rate_that_is_not_a_number_is_refused() {
    for bad in [f64::NAN, f64::INFINITY, -f64::MIN_POSITIVE, 1.000_001] {
        let config = Config {
            sampling_rate: bad,
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().field, "sampling_rate");
    }
}

#[test]
fn no_secret_shows_in_debug_or_in_an_error() {
    let config = read(r#"{"otlp": {"headers": {"x-api-key": "s3cret"}}}"#).unwrap();
    let shown = format!("{config:?}");
    assert!(
        shown.contains("x-api-key") && !shown.contains("s3cret"),
        "{shown}"
    );

    let mut config = Config::default();
    for address in [
        "http://c/?key=s3cret",
        "http://me:s3cret@c",
        "s3cret@c?s3cret",
        "http://me:s3cret?more@c",
        "http://me:a@s3cret?more@c",
    ] {
        config.otlp.endpoint = Some(address.into());
        config.otlp.exact_endpoint = Some(address.into());
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    for json in [
        r#"{"otlp": {"headers": "s3cret"}}"#,
        r#"{"otlp": {"headers": {"x-api-key": 31337}}}"#,
        r#"{"otlp": {"headers": {"x-api-key": "s3cret\n"}}}"#,
        r#"{"otlp": {"endpoint": "http://me:s3cret@collector:4318"}}"#,
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(
            !error.contains("s3cret") && !error.contains("31337"),
            "{error}"
        );
    }
}
