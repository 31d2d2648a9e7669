use proptest::{collection::vec, prelude::*};

use super::*;
use crate::SpanLimits;

/// A setting: what it is, how code sets it, a variable that does (if there is one), and how a file does.
type Setting = (
    fn(&Config) -> String,
    fn(ProviderBuilder) -> ProviderBuilder,
    &'static str,
    fn(&mut Config),
);

const SECOND: Duration = Duration::from_secs(1);

#[rustfmt::skip]
const SETTINGS: [Setting; 16] = [
    (|c| c.service_name.clone(), |it| it.service_name("code"),
        "OTEL_SERVICE_NAME=env", |c| c.service_name = "file".into()),
    (|c| c.enabled.to_string(), |it| it.enabled(false),
        "PYPROC_TELEMETRY_ENABLED=true", |c| c.enabled = true),
    (|c| format!("{:?}", c.exporter_type), |it| it.exporter_type(ExporterType::Stdout),
        "OTEL_TRACES_EXPORTER=none", |c| c.exporter_type = ExporterType::Jaeger),
    (|c| c.sampling_rate.to_string(), |it| it.sampling_rate(0.3),
        "PYPROC_TELEMETRY_SAMPLING_RATE=0.5", |c| c.sampling_rate = 0.7),
    (|c| format!("{:?}", c.sampler), |it| it.sampler(SamplerType::Ratio),
        "OTEL_TRACES_SAMPLER=parentbased_traceidratio", |c| c.sampler = SamplerType::ParentBasedRatio),
    (|c| format!("{:?}", c.tail_sampling), |it| it.tail_sampling(TailSampling::default()),
        "", |c| c.tail_sampling = Some(TailSampling { max_spans: 7, ..TailSampling::default() })),
    (|c| format!("{:?}", c.propagators), |it| it.propagators([PropagatorType::B3]),
        "OTEL_PROPAGATORS=none", |c| c.propagators = Some(vec![PropagatorType::Jaeger])),
    (|c| format!("{:?} {:?}", c.otlp.endpoint, c.otlp.exact_endpoint), |it| it.endpoint("http://code"),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://env/x", |c| c.otlp.endpoint = Some("http://file".into())),
    (|c| format!("{:?}", c.otlp.protocol), |it| it.protocol(OtlpProtocol::HttpProtobuf),
        GRPC, |c| c.otlp.protocol = OtlpProtocol::Grpc),
    (|c| format!("{:?}", c.otlp.headers.iter().find(|it| it.0 == "a")), |it| it.header("A", "code"),
        "OTEL_EXPORTER_OTLP_HEADERS=a=env", |c| c.otlp.headers.insert("a", "file")),
    (|c| format!("{:?}", c.otlp.timeout), |it| it.timeout(SECOND),
        "OTEL_EXPORTER_OTLP_TIMEOUT=5", |c| c.otlp.timeout = 7 * SECOND),
    (|c| format!("{:?}", c.otlp.compression), |it| it.compression(Compression::None),
        "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", |c| c.otlp.compression = Compression::Gzip),
    (|c| c.batch.max_queue_size.to_string(), |it| it.batch(BatchConfig { max_queue_size: 3, ..BatchConfig::default() }),
        "OTEL_BSP_MAX_QUEUE_SIZE=5", |c| c.batch.max_queue_size = 7),
    (|c| format!("{:?}", c.resource_attributes.get("a")), |it| it.resource_attribute("a", "code"),
        "OTEL_RESOURCE_ATTRIBUTES=a=env", |c| drop(c.resource_attributes.insert("a".into(), "file".into()))),
    (|c| format!("{:?}", c.fields.get("a")), |it| it.field("a", "code"),
        "PYPROC_LOG_FIELDS=a=env", |c| drop(c.fields.insert("a".into(), "file".into()))),
    (|c| format!("{:?}", c.shutdown_timeout), |it| it.shutdown_timeout(SECOND),
        "", |c| c.shutdown_timeout = 7 * SECOND),
];

/// Without the feature it is refused wherever it is set.
const GRPC: &str = match cfg!(feature = "grpc") {
    true => "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
    false => "",
};

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

fn of_file(chosen: impl Fn(usize) -> bool) -> Config {
    let mut config = Config::default();
    for (_, (.., set)) in SETTINGS.iter().enumerate().filter(|(at, _)| chosen(*at)) {
        set(&mut config);
    }
    if !cfg!(feature = "grpc") {
        config.otlp.protocol = OtlpProtocol::HttpProtobuf;
    }
    config
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

/// What a setting is if nothing but its own sources matters.
fn alone(sources: &Sources, at: usize) -> String {
    let (shown, code, ..) = SETTINGS[at];
    let mut config = of_file(|it| it == at && sources.file[at]);
    if sources.code[at] {
        let builder = code(config.into());
        return shown(&builder.config_over(|_| None).unwrap());
    }
    let env = of_env(|it| it == at && sources.env[at]);
    config.apply(env, |_| {}).unwrap();
    shown(&config)
}

proptest! {
    #[test]
    fn code_beats_the_environment_that_beats_the_file_in_every_order(sources in sources()) {
        let mut builder = ProviderBuilder::from(of_file(|at| sources.file[at]));
        for at in &sources.order {
            builder = match SETTINGS.get(*at) {
                None => builder.read_env(),
                Some((_, code, ..)) if sources.code[*at] => code(builder),
                Some(_) => builder,
            };
        }
        let config = builder.config_over(of_env(|at| sources.env[at])).unwrap();
        for (at, (shown, _, variable, _)) in SETTINGS.iter().enumerate() {
            prop_assert_eq!(shown(&config), alone(&sources, at), "{} {}", at, variable);
        }
    }
}

#[test]
fn the_table_has_other_values_in_code_than_elsewhere() {
    // A setting of code that is new here belongs into the table.
    let Config {
        service_name: _,
        enabled: _,
        exporter_type: _,
        sampler: _,
        sampling_rate: _,
        tail_sampling: _,
        propagators: _,
        otlp: OtlpConfig { .. },
        metrics: _,
        batch: BatchConfig { .. },
        span_limits: SpanLimits { .. },
        resource_attributes: _,
        fields: _,
        shutdown_timeout: _,
    } = Config::default();
    for (at, (.., variable, _)) in SETTINGS.iter().enumerate() {
        let value = |[file, env, code]: [bool; 3]| {
            let one = |it| vec![it; SETTINGS.len()];
            let (file, env, code) = (one(file), one(env), one(code));
            let order = Vec::new();
            let sources = Sources {
                file,
                env,
                code,
                order,
            };
            alone(&sources, at)
        };
        let code = value([false, false, true]);
        let is_grpc = at == 8 && !cfg!(feature = "grpc");
        assert!(is_grpc || code != value([true, false, false]), "{at}");
        assert!(
            variable.is_empty() || code != value([false, true, false]),
            "{variable}"
        );
    }
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
