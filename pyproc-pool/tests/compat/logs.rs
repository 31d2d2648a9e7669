//! What workers log and print, as events of the pool.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pyproc_pool::{Pool, WorkerOutput, protocol::Version};
use serde_json::{Value, json};
use tracing::{Level, instrument::WithSubscriber};

use crate::{
    candidate::Candidate,
    events::{Events, InSpan, OUTPUT, PYTHON, Told, listener},
    support::until,
};

/// A pool of one worker whose output becomes events.
async fn logged(worker: &Candidate) -> Result<(Pool, Events)> {
    let (events, listener) = listener(Level::INFO);
    let builder = worker.pool(1).output(WorkerOutput::Log);
    let start = builder.observer(Arc::new(InSpan::default())).start();
    let pool = start.with_subscriber(listener).await?;
    Ok((pool, events))
}

/// The event with this message that was told in a call.
async fn told(events: &Events, message: &str) -> Result<Told> {
    until("it is said", || events.has(message)).await;
    let all = [events.of(OUTPUT), events.of(PYTHON)].concat();
    let found = all.into_iter().find(|it| it.message() == message);
    found.context("it is of another target")
}

/// Whether the pool knows what call a line is of: a worker of ours does not say so in version 1, and may run several.
fn knows_calls(worker: &Candidate) -> bool {
    worker.is_original() || worker.protocol == Version::V2
}

fn ensure_of_call(worker: &Candidate, told: &Told, function: &str) -> Result<()> {
    let field = |name: &str| told.fields.get(name).map(String::as_str);
    if knows_calls(worker) {
        ensure!(field("function_name") == Some(function), "{told:?}");
        ensure!(field("trace_id") == Some(&"07".repeat(16)), "{told:?}");
        ensure!(field("span_id") == Some(&"08".repeat(8)), "{told:?}");
    }
    Ok(())
}

pub(crate) async fn records(worker: Candidate) -> Result<()> {
    let (pool, events) = logged(&worker).await?;
    let _: Value = pool.call("log", &json!("low")).await?;
    let low = told(&events, "low").await?;
    ensure!(low.level == Level::WARN, "{low:?}");
    ensure!(
        low.fields.get("logger").is_some_and(|it| it == "shop.cart"),
        "{low:?}"
    );
    ensure_of_call(&worker, &low, "log")?;
    let no = told(&events, "no").await?;
    ensure!(no.level == Level::ERROR, "{no:?}");
    let traceback = no.fields.get("exception").context("it has no exception")?;
    ensure!(
        traceback.starts_with("Traceback") && traceback.ends_with("KeyError: 'low'"),
        "{no:?}"
    );
    ensure_of_call(&worker, &no, "log")
}

pub(crate) async fn exception(worker: Candidate) -> Result<()> {
    let (pool, events) = logged(&worker).await?;
    let raised = pool.call::<_, Value>("fail", &json!("no such model")).await;
    ensure!(raised.is_err());
    let _: Value = pool.call("log", &json!("after")).await?;
    let after = told(&events, "after").await?;
    ensure_of_call(&worker, &after, "log")?;
    if worker.is_original() {
        // It logs what functions raise.
        let error = told(&events, "Error in method 'fail': ValueError: no such model").await?;
        ensure!(error.level == Level::ERROR, "{error:?}");
        let traceback = error
            .fields
            .get("exception")
            .context("it has no exception")?;
        ensure!(traceback.contains("in fail"), "{error:?}");
        ensure_of_call(&worker, &error, "fail")?;
    }
    let torn = |told: &Told| {
        told.message().starts_with("  File") || told.message().starts_with("Traceback")
    };
    let torn: Vec<_> = events.of(OUTPUT).into_iter().filter(torn).collect();
    ensure!(torn.is_empty(), "{torn:?}");
    Ok(())
}
