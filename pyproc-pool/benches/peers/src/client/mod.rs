//! The client process of a session.

pub(crate) mod floor;
mod grpc;
mod http;
mod load;
mod pool;
mod server;
mod ticks;

use std::{process, thread, time::Duration};

use crate::{
    plan::{Runtime, Session},
    row::Row,
};
use anyhow::{Context, Result, bail};

use crate::catalog::{self, Client};

/// A session that takes so long never ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints a row for each step.
pub(crate) fn take_steps(session: &Session) -> Result<()> {
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("the session does not end");
        process::exit(1);
    });
    let peer = catalog::peer(&session.peer).context("no such peer")?;
    let rows = match peer.client {
        Client::Floor { spin } => floor::measure(session, spin),
        Client::Pool(pooled) => in_tokio(session, pool::measure(session, pooled)),
        Client::Grpc => in_tokio(session, grpc::measure(session)),
        Client::Http(server) => in_tokio(session, http::measure(session, server)),
        Client::Script(_) | Client::InProcess => bail!("{} is its own client", peer.name),
    }?;
    for row in rows {
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}

fn in_tokio(
    session: &Session,
    measure: impl Future<Output = Result<Vec<Row>>>,
) -> Result<Vec<Row>> {
    let mut builder = match session.runtime {
        Runtime::CurrentThread => tokio::runtime::Builder::new_current_thread(),
        Runtime::MultiThread => tokio::runtime::Builder::new_multi_thread(),
        Runtime::Blocking | Runtime::Python => bail!("not a runtime of tokio"),
    };
    builder.enable_all().build()?.block_on(measure)
}
