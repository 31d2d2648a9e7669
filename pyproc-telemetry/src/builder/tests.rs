use pyproc_settings::testing::{self, Case};

use super::*;

type Setting = Case<ProviderBuilder>;

const SECOND: Duration = Duration::from_secs(1);

#[rustfmt::skip]
fn cases() -> Vec<Setting> {
    let mut cases = vec![
        Setting::new("service_name", |it| it.service_name("code"), "OTEL_SERVICE_NAME=env",
            |c| c.service_name = "file".into(), |c| c.service_name.clone()),
        Setting::new("enabled", |it| it.enabled(false), "PYPROC_TELEMETRY_ENABLED=true",
            |c| c.enabled = true, |c| c.enabled.to_string()),
        Setting::new("exporter_type", |it| it.exporter_type(ExporterType::Stdout), "OTEL_TRACES_EXPORTER=none",
            |c| c.exporter_type = ExporterType::Jaeger, |c| format!("{:?}", c.exporter_type)),
        Setting::new("sampling_rate", |it| it.sampling_rate(0.3), "PYPROC_TELEMETRY_SAMPLING_RATE=0.5",
            |c| c.sampling_rate = 0.7, |c| c.sampling_rate.to_string()),
        Setting::new("sampler", |it| it.sampler(SamplerType::Ratio), "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
            |c| c.sampler = SamplerType::ParentBasedRatio, |c| format!("{:?}", c.sampler)),
        Setting::new("tail_sampling", |it| it.tail_sampling(TailSampling::default()), "",
            |c| c.tail_sampling = Some(TailSampling { max_spans: 7, ..TailSampling::default() }), |c| format!("{:?}", c.tail_sampling)),
        Setting::new("propagators", |it| it.propagators([PropagatorType::B3]), "OTEL_PROPAGATORS=none",
            |c| c.propagators = Some(vec![PropagatorType::Jaeger]), |c| format!("{:?}", c.propagators)),
        Setting::new("otlp.endpoint", |it| it.endpoint("http://code"), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://env/x",
            |c| c.otlp.endpoint = Some("http://file".into()), |c| format!("{:?} {:?}", c.otlp.endpoint, c.otlp.exact_endpoint)),
        Setting::new("otlp.headers", |it| it.header("A", "code"), "OTEL_EXPORTER_OTLP_HEADERS=a=env",
            |c| c.otlp.headers.insert("a", "file"), |c| format!("{:?}", c.otlp.headers.iter().find(|it| it.0 == "a"))),
        Setting::new("otlp.timeout", |it| it.timeout(SECOND), "OTEL_EXPORTER_OTLP_TIMEOUT=5",
            |c| c.otlp.timeout = 7 * SECOND, |c| format!("{:?}", c.otlp.timeout)),
        Setting::new("otlp.compression", |it| it.compression(Compression::None), "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
            |c| c.otlp.compression = Compression::Gzip, |c| format!("{:?}", c.otlp.compression)),
        Setting::new("batch", |it| it.batch(BatchConfig { max_queue_size: 3, ..BatchConfig::default() }), "OTEL_BSP_MAX_QUEUE_SIZE=5",
            |c| c.batch.max_queue_size = 7, |c| c.batch.max_queue_size.to_string()),
        Setting::new("resource_attributes", |it| it.resource_attribute("a", "code"), "OTEL_RESOURCE_ATTRIBUTES=a=env",
            |c| drop(c.resource_attributes.insert("a".into(), "file".into())), |c| format!("{:?}", c.resource_attributes.get("a"))),
        Setting::new("fields", |it| it.field("a", "code"), "PYPROC_LOG_FIELDS=a=env",
            |c| drop(c.fields.insert("a".into(), "file".into())), |c| format!("{:?}", c.fields.get("a"))),
        Setting::new("shutdown_timeout", |it| it.shutdown_timeout(SECOND), "",
            |c| c.shutdown_timeout = 7 * SECOND, |c| format!("{:?}", c.shutdown_timeout)),
    ];
    if cfg!(feature = "grpc") {
        cases.push(Setting::new("otlp.protocol", |it| it.protocol(OtlpProtocol::HttpProtobuf), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            |c| c.otlp.protocol = OtlpProtocol::Grpc, |c| format!("{:?}", c.otlp.protocol)));
    }
    cases
}

impl testing::Builder for ProviderBuilder {
    type Config = Config;

    fn read_env(self) -> Self {
        self.read_env()
    }

    fn in_effect(&self, lookup: &dyn Fn(&str) -> Option<OsString>) -> Config {
        self.config_over(lookup).unwrap()
    }
}

#[test]
fn code_beats_the_environment_that_beats_the_file_in_every_order() {
    testing::code_beats_environment_beats_file(&cases(), &["otlp", "metrics", "span_limits"]);
}

#[test]
fn the_readme_has_the_table_of_the_settings() {
    testing::readme_has_settings::<Config>(include_str!("../../README.md"));
}

fn over(builder: ProviderBuilder, variables: &[(&str, &str)]) -> Config {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
    builder
        .config_over(|name| find(name).map(|(_, value)| value.into()))
        .unwrap()
}

#[test]
fn a_variable_that_counts_beside_another_setting_looks_at_what_code_set() {
    let jaeger = [("OTEL_EXPORTER_JAEGER_ENDPOINT", "http://jaeger:4318")];
    let share = [("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let rate = [("PYPROC_TELEMETRY_SAMPLING_RATE", "0.5")];
    let builder = Provider::builder;
    for before in [true, false] {
        let read = |code: fn(ProviderBuilder) -> ProviderBuilder| match before {
            true => code(builder().read_env()),
            false => code(builder()).read_env(),
        };
        let endpoint = |config: Config| config.otlp.endpoint;
        let chosen = over(read(|it| it.exporter_type(ExporterType::Jaeger)), &jaeger);
        assert_eq!(endpoint(chosen).as_deref(), Some("http://jaeger:4318"));
        assert_eq!(endpoint(over(read(|it| it), &jaeger)), None);

        let config = over(read(|it| it.sampler(SamplerType::AlwaysOn)), &share);
        assert_eq!(config.sampling_rate, 1.0);
        let config = over(read(|it| it.sampler(SamplerType::AlwaysOn)), &rate);
        assert_eq!(config.sampler, SamplerType::AlwaysOn);
    }
}

#[test]
fn of_headers_and_attributes_each_counts_by_itself() {
    let builder = Provider::builder()
        .header("a", "code")
        .resource_attribute("a", "code")
        .read_env();
    let config = over(
        builder,
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=env,b=env"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=env,b=env"),
        ],
    );
    let expected = [("a", "code"), ("b", "env")];
    assert_eq!(config.otlp.headers.iter().collect::<Vec<_>>(), expected);
    let attributes = config.resource_attributes.iter();
    let attributes: Vec<_> = attributes.map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(attributes, expected);
}

#[test]
fn the_collector_that_code_sets_is_also_that_of_metrics() {
    let builder = || Provider::builder().endpoint("http://code:1").read_env();
    let metrics = |variables: &[(&str, &str)]| over(builder(), variables).metrics_otlp();
    for variables in [
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:1")][..],
        &[("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "5")],
        &[("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "5")],
    ] {
        let endpoint = metrics(variables).endpoint;
        assert_eq!(endpoint.as_deref(), Some("http://code:1"), "{variables:?}");
    }
    // Unless metrics have one of their own, which code did not set.
    let own = metrics(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://env/x")]);
    assert_eq!(own.exact_endpoint.as_deref(), Some("http://env/x"));
}
