//! What workers log and print, as events of the pool.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pyproc_pool::{Pool, WorkerOutput, protocol::Version};
use serde_json::{Value, json};
use tracing::{Level, instrument::WithSubscriber};

use crate::{
    candidate::Candidate,
    events::{Events, InSpan, LoggedEvent, OUTPUT, PYTHON, listener},
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

/// The event with this message that was logged in a call.
async fn logged_events(events: &Events, message: &str) -> Result<LoggedEvent> {
    until("it is logged", || events.has(message)).await;
    let all = [events.of(OUTPUT), events.of(PYTHON)].concat();
    let found = all.into_iter().find(|it| it.message() == message);
    found.context("it is of another target")
}

/// Whether the pool knows the call of a line: a worker of ours does not send it in version 1, and may run several.
fn knows_calls(worker: &Candidate) -> bool {
    worker.is_original() || worker.protocol == Version::V2
}

fn ensure_of_call(worker: &Candidate, logged_events: &LoggedEvent, function: &str) -> Result<()> {
    let field = |name: &str| logged_events.fields.get(name).map(String::as_str);
    if knows_calls(worker) {
        ensure!(
            field("function_name") == Some(function),
            "{logged_events:?}"
        );
        ensure!(
            field("trace_id") == Some(&"07".repeat(16)),
            "{logged_events:?}"
        );
        ensure!(
            field("span_id") == Some(&"08".repeat(8)),
            "{logged_events:?}"
        );
    }
    Ok(())
}

pub(crate) async fn records(worker: Candidate) -> Result<()> {
    let (pool, events) = logged(&worker).await?;
    let _: Value = pool.call("log", &json!("low")).await?;
    let low = logged_events(&events, "low").await?;
    ensure!(low.level == Level::WARN, "{low:?}");
    ensure!(
        low.fields.get("logger").is_some_and(|it| it == "shop.cart"),
        "{low:?}"
    );
    ensure_of_call(&worker, &low, "log")?;
    let no = logged_events(&events, "no").await?;
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
    let after = logged_events(&events, "after").await?;
    ensure_of_call(&worker, &after, "log")?;
    if worker.is_original() {
        // It logs what functions raise.
        let error =
            logged_events(&events, "Error in method 'fail': ValueError: no such model").await?;
        ensure!(error.level == Level::ERROR, "{error:?}");
        let traceback = error
            .fields
            .get("exception")
            .context("it has no exception")?;
        ensure!(traceback.contains("in fail"), "{error:?}");
        ensure_of_call(&worker, &error, "fail")?;
    }
    let torn = |logged_events: &LoggedEvent| {
        logged_events.message().starts_with("  File")
            || logged_events.message().starts_with("Traceback")
    };
    let torn: Vec<_> = events.of(OUTPUT).into_iter().filter(torn).collect();
    ensure!(torn.is_empty(), "{torn:?}");
    Ok(())
}
