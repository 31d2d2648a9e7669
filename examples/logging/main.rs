//! One request id in Rust and Python: each log line about a request has its id and its trace, in both languages.

use std::time::Duration;

use pyproc_logging::{LoggingBuilder, LoggingConfig, LoggingGuard, request_span};
use pyproc_pool::Pool;
use pyproc_telemetry::{ExporterType, PoolBuilderExt, Provider, Tracer};
use serde_json::{Value, json};
use tracing::{Instrument, info, warn};
use tracing_subscriber::{filter::LevelFilter, layer::Layer, layer::SubscriberExt};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/logging/worker.py");

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Traces have ids, but are not exported; the example `observability` exports them.
    let provider = Provider::builder()
        .enabled(true)
        .exporter_type(ExporterType::None)
        .start()?;
    let tracer = provider.tracer("shop");
    let _log = start_log(tracer.clone())?;
    let pool = start_pool(tracer).await?;

    for (id, order) in [
        ("r-1", json!({"tea": 2, "cup": 1})),
        ("r-2", json!({"cofee": 1})),
    ] {
        answer(&pool, &order).instrument(request_span!(id)).await;
    }
    pool.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Handles a request. Nothing in here knows the request's id.
async fn answer(pool: &Pool, order: &Value) {
    info!("order received");
    match pool.call::<_, u64>("price", order).await {
        Ok(cents) => info!(cents, "order priced"),
        Err(error) => warn!(%error, "order refused"),
    }
}

/// Log lines, and spans, which give them the ids of a trace.
fn start_log(tracer: Tracer) -> anyhow::Result<LoggingGuard> {
    let (log, guard) = LoggingBuilder::from(LoggingConfig::from_env()?).layer()?;
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_filter(LevelFilter::INFO);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log).with(traces))?;
    Ok(guard)
}

async fn start_pool(tracer: Tracer) -> anyhow::Result<Pool> {
    let python = std::env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into());
    let pool = Pool::builder()
        .python_exec(python)
        .worker_script(WORKER)
        .inject_headers(|headers| {
            if let Some(baggage) = pyproc_logging::baggage() {
                headers.insert("baggage".into(), baggage);
            }
        })
        .with_tracer(tracer)
        .start()
        .await?;
    Ok(pool)
}
