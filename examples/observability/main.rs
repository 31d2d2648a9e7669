//! A trace from a Rust service into Python and back: on the terminal, or in a collector.

use std::time::Duration;

use pyproc_pool::{Error, Pool};
use pyproc_telemetry::{
    Config, Exemplars, ExporterType, MetricsFormat, PoolBuilderExt, PoolMetrics, Provider,
    Telemetry, prometheus::Registry, render_metrics,
};
use serde_json::{Value, json};
use tracing::{Instrument, info_span};
use tracing_subscriber::{
    Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/observability/worker.py");

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Exports to the terminal, unless the environment names a collector.
    let config = Config {
        service_name: "observability".into(),
        enabled: true,
        exporter_type: ExporterType::Stdout,
        ..Config::default()
    };
    let provider = Provider::start(config.read_env()?)?;
    let tracer = provider.tracer("observability");
    // Spans of `tracing` become spans of the trace.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.clone())
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(spans).init();

    let registry = Registry::new();
    let metrics = PoolMetrics::register(&registry)?;
    let python = std::env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into());
    let pool = Pool::builder()
        .workers(1)
        .python_exec(python)
        .worker_script(WORKER)
        .with_telemetry(Telemetry::default().tracer(tracer).metrics(&metrics))
        .start()
        .await?;

    for count in [3, -1] {
        let request = process_request(&pool, count);
        match request
            .instrument(info_span!("process_request", count))
            .await
        {
            Ok(answer) => eprintln!("{count} cost {answer}"),
            Err(error) => eprintln!("{count}: {error}"),
        }
    }
    pool.shutdown(Duration::from_secs(5)).await;
    match provider.shutdown().await {
        Ok(stats) => eprintln!("{} spans exported, {} lost", stats.exported, stats.lost()),
        // For example, the collector is down: the service has still done its work.
        Err(error) => eprintln!("{error}"),
    }

    let text = render_metrics(&registry, &Exemplars::default(), MetricsFormat::Text)?;
    let shown = ["pyproc_requests_total", "shop_items_total"];
    let lines = text.lines();
    lines
        .filter(|line| shown.iter().any(|name| line.starts_with(name)))
        .for_each(|line| eprintln!("{line}"));
    Ok(())
}

/// What a handler of a service would do.
async fn process_request(pool: &Pool, count: i64) -> Result<Value, Error> {
    pool.call("price", &json!({"count": count})).await
}
