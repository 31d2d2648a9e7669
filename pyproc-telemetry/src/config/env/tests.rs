use std::time::Duration;

use pyproc_settings::Layers;

use super::{
    super::{Endpoint, in_effect},
    *,
};
use crate::{Compression, ConfigError, MetricsExporterType, OtlpProtocol};

fn over(config: Config, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
    let settings = Layers::from(config).read_env();
    let config = in_effect(&settings, |name| find(name).map(|(_, value)| value.into()));
    Ok(config?)
}

fn applied(variables: &[(&str, &str)]) -> Config {
    over(Config::default(), variables).unwrap()
}

#[test]
fn the_four_variables_of_the_guide_are_enough() {
    let config = applied(&[
        ("PYPROC_TELEMETRY_SERVICE_NAME", "my-service"),
        ("PYPROC_TELEMETRY_ENABLED", "true"),
        ("PYPROC_TELEMETRY_EXPORTER_TYPE", "stdout"),
        ("PYPROC_TELEMETRY_SAMPLING_RATE", "0.5"),
    ]);
    let expected = Config {
        service_name: "my-service".into(),
        enabled: true,
        exporter_type: ExporterType::Stdout,
        sampling_rate: 0.5,
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn the_fields_of_log_lines_are_those_of_the_service_too() {
    let config = applied(&[
        ("PYPROC_LOG_FIELDS", "version=1.4.2,namespace=mine"),
        ("POD_NAME", "shop-1"),
        ("POD_NAMESPACE", "prod"),
    ]);
    let fields = [
        ("namespace", "mine"),
        ("pod_name", "shop-1"),
        ("version", "1.4.2"),
    ];
    let expected = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(config.fields, expected.into());
    for (name, value) in [
        ("PYPROC_LOG_FIELDS", "version"),
        ("PYPROC_LOG_FIELDS", "msg=x"),
    ] {
        let error = over(Config::default(), &[(name, value)]).unwrap_err();
        assert_eq!(error.field, name);
    }
    let mut config = Config::default();
    config.fields.insert("time".into(), "x".into());
    assert_eq!(config.validate().unwrap_err().field, "fields");
}

#[test]
fn precedence_from_low_to_high() {
    type Shown = fn(&Config) -> String;
    type Case = (Shown, &'static [(&'static str, &'static str, &'static str)]);
    // Each step adds a variable that beats those before it.
    let cases: [Case; 9] = [
        (
            |c| c.service_name.clone(),
            &[
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=r,a=b", "r"),
                ("OTEL_SERVICE_NAME", "otel", "otel"),
                ("PYPROC_TELEMETRY_SERVICE_NAME", "ours", "ours"),
            ],
        ),
        (
            |c| format!("{:?}", c.exporter_type),
            &[
                ("OTEL_TRACES_EXPORTER", "console", "Stdout"),
                ("PYPROC_TELEMETRY_EXPORTER_TYPE", "jaeger", "Jaeger"),
            ],
        ),
        (
            |c| c.enabled.to_string(),
            &[
                ("PYPROC_TELEMETRY_ENABLED", "1", "true"),
                ("OTEL_SDK_DISABLED", "TRUE", "false"),
            ],
        ),
        (
            |c| format!("{:?} {}", c.sampler, c.sampling_rate),
            &[
                ("OTEL_TRACES_SAMPLER", "traceidratio", "Ratio 1"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.5", "Ratio 0.5"),
                ("PYPROC_TELEMETRY_SAMPLING_RATE", "0.25", "Ratio 0.25"),
            ],
        ),
        (
            |c| format!("{:?} {}", c.sampler, c.sampling_rate),
            &[
                ("OTEL_TRACES_SAMPLER_ARG", "0.5", "ParentBasedRatio 0.5"),
                ("OTEL_TRACES_SAMPLER", "always_off", "AlwaysOff 1"),
                (
                    "PYPROC_TELEMETRY_SAMPLING_RATE",
                    "0.1",
                    "ParentBasedRatio 0.1",
                ),
            ],
        ),
        (
            |c| Endpoint::of(c).unwrap().0.to_string(),
            &[
                (
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    "http://a:1",
                    "http://a:1/v1/traces",
                ),
                (
                    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                    "http://b:2/x",
                    "http://b:2/x",
                ),
            ],
        ),
        (
            |c| format!("{:?}", c.otlp.timeout),
            &[
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500", "1.5s"),
                ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "20", "20ms"),
            ],
        ),
        (
            |c| format!("{:?}", c.otlp.headers.iter().collect::<Vec<_>>()),
            &[
                (
                    "OTEL_EXPORTER_OTLP_HEADERS",
                    "A=1%2C2,b=x=y",
                    r#"[("a", "1,2"), ("b", "x=y")]"#,
                ),
                (
                    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                    "c=3",
                    r#"[("c", "3")]"#,
                ),
            ],
        ),
        (
            |c| format!("{:?}", c.effective_propagators()),
            &[
                ("OTEL_TRACES_EXPORTER", "otlp", "[TraceContext, Baggage]"),
                (
                    "PYPROC_TELEMETRY_EXPORTER_TYPE",
                    "jaeger",
                    "[Jaeger, TraceContext, Baggage]",
                ),
                ("OTEL_PROPAGATORS", "b3, b3multi,b3", "[B3, B3Multi]"),
            ],
        ),
    ];
    for (shown, steps) in cases {
        for last in 0..steps.len() {
            let mut set: Vec<_> = steps[..=last].iter().map(|(k, v, _)| (*k, *v)).collect();
            assert_eq!(shown(&applied(&set)), steps[last].2, "{set:?}");
            // Neither does the order matter, nor an empty variable.
            set.reverse();
            set.extend(steps[last + 1..].iter().map(|(k, _, _)| (*k, " ")));
            assert_eq!(shown(&applied(&set)), steps[last].2, "{set:?}");
        }
    }
}

#[test]
fn the_environment_beats_the_file() {
    let file = Config {
        service_name: "file".into(),
        otlp: OtlpConfig {
            exact_endpoint: Some("http://file:1/full".into()),
            ..OtlpConfig::default()
        },
        ..Config::default()
    };
    let config = over(file.clone(), &[]).unwrap();
    assert_eq!(config, file);
    let config = over(
        file,
        &[
            ("OTEL_SERVICE_NAME", "env"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:2"),
        ],
    )
    .unwrap();
    assert_eq!(config.service_name, "env");
    let endpoint = Endpoint::of(&config).unwrap().0;
    assert_eq!(endpoint.to_string(), "http://env:2/v1/traces");
}

#[test]
fn the_jaeger_address_counts_for_jaeger_only() {
    let variables = [
        (
            "OTEL_EXPORTER_JAEGER_ENDPOINT",
            "http://jaeger:14268/api/traces",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otlp:4318"),
    ];
    let mut config = applied(&variables);
    assert_eq!(config.otlp.endpoint.as_deref(), Some("http://otlp:4318"));
    config.exporter_type = ExporterType::Jaeger;
    let config = over(config, &variables).unwrap();
    let (endpoint, warning) = Endpoint::of(&config).unwrap();
    assert_eq!(endpoint.to_string(), "http://jaeger:4318/v1/traces");
    assert!(warning.is_some());
}

#[test]
fn the_rest_of_the_otel_variables_are_read() {
    let config = applied(&[
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=a%20b,x=",
        ),
        ("OTEL_PROPAGATORS", "none"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "9"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "5"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
    ]);
    assert_eq!(
        config.resource_attributes["deployment.environment.name"],
        "a b"
    );
    assert_eq!(config.resource_attributes["x"], "");
    assert_eq!(config.propagators, Some(vec![]));
    assert_eq!(config.batch.max_queue_size, 7);
    assert_eq!(config.batch.max_export_batch_size, 3);
    assert_eq!(config.batch.schedule_delay, Duration::ZERO);
    assert_eq!(config.batch.export_timeout, Duration::from_millis(9));
    assert_eq!(config.otlp.timeout, Duration::from_secs(10));
    assert_eq!(config.span_limits.attributes, 4);
    assert_eq!(
        (config.span_limits.events, config.span_limits.links),
        (5, 0)
    );
    assert_eq!(config.otlp.compression, Compression::None);
    assert_eq!(config.otlp.protocol, OtlpProtocol::HttpProtobuf);
    assert_eq!(config.otlp.certificate, Some("/etc/ca.pem".into()));
}

#[test]
fn every_bad_value_names_its_variable() {
    for (name, value) in [
        ("PYPROC_TELEMETRY_ENABLED", "maybe"),
        ("PYPROC_TELEMETRY_EXPORTER_TYPE", "zipkin"),
        ("PYPROC_TELEMETRY_SAMPLING_RATE", "1.01"),
        ("PYPROC_TELEMETRY_SAMPLING_RATE", "NaN"),
        ("PYPROC_TELEMETRY_SAMPLING_RATE", "half"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "novalue"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_TRACES_SAMPLER_ARG", "-1"),
        ("OTEL_PROPAGATORS", "tracecontext,b4"),
        ("OTEL_PROPAGATORS", "none,b3"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/?x=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "token"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "host=x"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many"),
    ] {
        let error = over(Config::default(), &[(name, value)]).unwrap_err();
        assert_eq!(error.field, name, "{value}");
    }
}

#[test]
fn a_bad_header_is_not_repeated() {
    for value in ["s3cret", "x-api-key=s3cret%0d%0ax", "=s3cret"] {
        let error = over(Config::default(), &[("OTEL_EXPORTER_OTLP_HEADERS", value)]);
        let error = error.unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[cfg(not(feature = "grpc"))]
#[test]
fn a_missing_feature_is_named() {
    let error = over(
        Config::default(),
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    );
    assert!(error.unwrap_err().reason.contains("feature `grpc`"));
}

#[test]
fn the_collector_of_metrics_is_that_of_traces_unless_it_is_named() {
    let both = applied(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")]);
    assert_eq!(both.metrics.otlp, None);
    assert_eq!(both.metrics_otlp().endpoint.as_deref(), Some("http://c:1"));

    let apart = applied(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m/y"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "3"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "4"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
    ]);
    let millis = Duration::from_millis;
    assert_eq!(apart.otlp.exact_endpoint.as_deref(), Some("http://t/x"));
    assert_eq!(apart.otlp.timeout, millis(1));
    let metrics = apart.metrics_otlp();
    assert_eq!(metrics.exact_endpoint.as_deref(), Some("http://m/y"));
    assert_eq!(
        (metrics.timeout, metrics.headers.iter().count()),
        (millis(2), 1)
    );
    assert_eq!(apart.otlp.headers.iter().count(), 0);
    let metrics = apart.metrics;
    assert_eq!((metrics.interval, metrics.timeout), (millis(3), millis(4)));
    assert_eq!(metrics.exporter_type, MetricsExporterType::None);
}

#[test]
fn what_makes_no_sense_for_metrics_is_refused_by_name() {
    for (name, value) in [
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "c:1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
    ] {
        assert_eq!(
            over(Config::default(), &[(name, value)]).unwrap_err().field,
            name
        );
    }
}

#[test]
fn metrics_do_not_go_to_an_old_address_of_jaeger() {
    let old = "http://jaeger:14268/api/traces";
    let jaeger = ("OTEL_TRACES_EXPORTER", "jaeger");
    for variable in [
        "OTEL_EXPORTER_JAEGER_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        let config = applied(&[jaeger, (variable, old)]);
        assert_eq!(config.otlp.endpoint.as_deref(), Some(old));
        assert_eq!(config.metrics_otlp().endpoint, None, "{variable}");
    }
    // One that takes OTLP may take metrics as well.
    let new = applied(&[
        jaeger,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4318"),
    ]);
    let endpoint = new.metrics_otlp().endpoint;
    assert_eq!(endpoint.as_deref(), Some("http://jaeger:4318"));
}
