//! A client like the Go original's pool against a worker.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    candidate::Candidate, gate::Gate, go_client::GoClient, process::WorkerProcess, support::until,
};

pub(crate) async fn bytes(worker: Candidate) -> Result<()> {
    let (_process, client) = start(&worker).await?;
    let mut connection = client.connect().await?;
    let text = "<a href=\"x\">größe & 雪</a> \u{2028}\u{2029} 🐍 \0 \\u003c";
    for body in [
        json!(null),
        json!(text),
        json!({ text: [1, -2.5, true, {}] }),
    ] {
        ensure!(connection.call("echo", &body).await? == Ok(body));
    }
    let length = connection.call("größe", &json!(text)).await?;
    ensure!(length == Ok(json!(text.chars().count())));
    Ok(())
}

pub(crate) async fn answers(worker: Candidate) -> Result<()> {
    let (_process, client) = start(&worker).await?;
    let mut connection = client.connect().await?;
    let expected = [
        ("echo", json!({"value": 42}), Ok(json!({"value": 42}))),
        ("echo", Value::Null, Ok(Value::Null)),
        ("fail", json!("no such model"), Err("no such model".into())),
        ("fail", json!(""), Err(String::new())),
        ("nope", Value::Null, Err("Method 'nope' not found".into())),
    ];
    for (method, body, answer) in expected {
        ensure!(connection.call(method, &body).await? == answer);
    }
    let health = connection.call("health", &json!({})).await?;
    ensure!(health.is_ok_and(|it| it["status"] == "healthy" && it["pid"].is_u64()));
    Ok(())
}

pub(crate) async fn cancelled_then_connected(worker: Candidate) -> Result<()> {
    let (_process, client) = start(&worker).await?;
    let gate = Gate::closed();
    let mut connection = client.connect().await?;
    let id = connection.send("hold", &json!(gate.file())).await?;
    until("the function runs", || gate.is_awaited()).await;
    connection.cancel_and_close(id).await?;

    let mut next = client.connect().await?;
    let id = next.send("echo", &json!("mine")).await?;
    gate.open()?;
    ensure!(next.receive(id).await? == Ok(json!("mine")));
    ensure!(next.call("echo", &json!("again")).await? == Ok(json!("again")));
    Ok(())
}

pub(crate) async fn connected_often(worker: Candidate) -> Result<()> {
    let (_process, client) = start(&worker).await?;
    for i in 0..100 {
        let mut connection = client.connect().await?;
        if i % 2 == 0 {
            ensure!(connection.call("echo", &json!(i)).await? == Ok(json!(i)));
        }
    }
    ensure!(client.connect().await?.call("echo", &json!("last")).await? == Ok(json!("last")));
    Ok(())
}

pub(crate) async fn several_connections(worker: Candidate) -> Result<()> {
    const CONNECTIONS: u64 = 10;
    let (_process, client) = start(&worker).await?;
    let client = Arc::new(client);
    let mut tasks = JoinSet::new();
    for lane in 0..CONNECTIONS {
        let client = Arc::clone(&client);
        tasks.spawn(async move { calls(&client, lane).await });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

/// One call after the other on a connection of its own.
async fn calls(client: &GoClient, lane: u64) -> Result<()> {
    let mut connection = client.connect().await?;
    for i in 0..100 {
        let body = json!([lane, i]);
        ensure!(connection.call("echo", &body).await? == Ok(body));
    }
    Ok(())
}

pub(crate) async fn one_id_twice(worker: Candidate) -> Result<()> {
    let (process, one) = start(&worker).await?;
    let other = GoClient::new(process.socket());
    let gate = Gate::closed();
    let (mut first, mut second) = (one.connect().await?, other.connect().await?);
    let first_id = first.send("hold", &json!(gate.file())).await?;
    until("the function runs", || gate.is_awaited()).await;
    let second_id = second.send("echo", &json!("second")).await?;
    ensure!(first_id == second_id);
    gate.open()?;
    ensure!(second.receive(second_id).await? == Ok(json!("second")));
    ensure!(first.receive(first_id).await? == Ok(json!(process.pid())));
    Ok(())
}

pub(crate) async fn cancelled_beside_others(worker: Candidate) -> Result<()> {
    let (process, client) = start(&worker).await?;
    let other = GoClient::new(process.socket());
    let third = GoClient::new(process.socket());
    let gate = Gate::closed();
    let mut running = client.connect().await?;
    let mut waiting = other.connect().await?;
    let mut giving_up = third.connect().await?;
    // Afterwards the worker has accepted all three, so it reads them in the same round.
    for connection in [&mut running, &mut giving_up, &mut waiting] {
        ensure!(connection.call("echo", &json!(1)).await? == Ok(json!(1)));
    }
    let running_id = running.send("hold", &json!(gate.file())).await?;
    until("the function runs", || gate.is_awaited()).await;
    let waiting_id = waiting.send("echo", &json!("mine")).await?;
    let given_up_id = giving_up.send("echo", &json!("unwanted")).await?;
    ensure!(given_up_id == waiting_id);
    giving_up.cancel_and_close(given_up_id).await?;
    running.cancel_and_close(running_id).await?;
    gate.open()?;
    ensure!(waiting.receive(waiting_id).await? == Ok(json!("mine")));
    ensure!(waiting.call("echo", &json!("again")).await? == Ok(json!("again")));
    Ok(())
}

const NEWEST_SCRIPT: &str = "newest_worker.py";

pub(crate) async fn newest_script(worker: Candidate) -> Result<()> {
    let (_process, client) = start_script(&worker, NEWEST_SCRIPT).await?;
    let mut connection = client.connect().await?;
    let body = json!({"value": 21});
    for method in ["traced", "made_cancellable"] {
        ensure!(connection.call(method, &body).await? == Ok(body.clone()));
    }
    let health = connection.call("healthy", &body).await?;
    ensure!(health == Ok(json!("healthy")));
    Ok(())
}

pub(crate) async fn operation_cancelled(worker: Candidate) -> Result<()> {
    let (_process, client) = start_script(&worker, NEWEST_SCRIPT).await?;
    let gate = Gate::closed();
    let mut connection = client.connect().await?;
    let id = connection.send("operate", &json!(gate.file())).await?;
    until("the function runs", || gate.is_awaited()).await;
    connection.cancel(id).await?;
    let answer = connection.receive(id).await?;
    ensure!(answer == Err("Cancelled: Operation cancelled".into()));
    Ok(())
}

pub(crate) async fn without_ids(worker: Candidate) -> Result<()> {
    let (process, client) = start(&worker).await?;
    let mut transport = client.transport().await?;
    for i in 0..100 {
        ensure!(transport.call("echo", &json!(i)).await? == Ok(json!(i)));
    }
    let failed = transport.call("fail", &json!("no such model")).await?;
    ensure!(failed == Err("no such model".into()));
    let unknown = transport.call("nope", &Value::Null).await?;
    ensure!(unknown == Err("Method 'nope' not found".into()));
    // Its ping before a connection that was idle is used again.
    let pinged = transport.call("health", &Value::Null).await?;
    ensure!(pinged.is_ok_and(|it| it["pid"] == process.pid()));
    ensure!(transport.call("echo", &json!("last")).await? == Ok(json!("last")));
    Ok(())
}

pub(crate) async fn without_ids_in_order(worker: Candidate) -> Result<()> {
    let (process, client) = start(&worker).await?;
    let gate = Gate::closed();
    let mut transport = client.transport().await?;
    transport.send("hold", &json!(gate.file())).await?;
    for i in 0..50 {
        transport.send("echo", &json!(i)).await?;
        transport.send("fail", &json!(i.to_string())).await?;
    }
    until("the function runs", || gate.is_awaited()).await;
    gate.open()?;
    ensure!(transport.receive(0).await? == Ok(json!(process.pid())));
    for i in 0..50 {
        ensure!(transport.receive(0).await? == Ok(json!(i)));
        ensure!(transport.receive(0).await? == Err(i.to_string()));
    }
    Ok(())
}

/// A deadline passes: the transport gives its connection up without a word, and connects again.
pub(crate) async fn without_ids_connected_again(worker: Candidate) -> Result<()> {
    let (_process, client) = start(&worker).await?;
    let gate = Gate::closed();
    let mut transport = client.transport().await?;
    transport.send("hold", &json!(gate.file())).await?;
    until("the function runs", || gate.is_awaited()).await;
    drop(transport);

    let mut again = client.transport().await?;
    again.send("echo", &json!("mine")).await?;
    gate.open()?;
    ensure!(again.receive(0).await? == Ok(json!("mine")));
    ensure!(again.call("health", &Value::Null).await?.is_ok());
    Ok(())
}

/// A worker, and a client of its first pool.
async fn start(worker: &Candidate) -> Result<(WorkerProcess, GoClient)> {
    start_script(worker, "worker.py").await
}

async fn start_script(worker: &Candidate, name: &str) -> Result<(WorkerProcess, GoClient)> {
    let process = WorkerProcess::start_script(worker, name).await?;
    let client = GoClient::new(process.socket());
    Ok((process, client))
}
