//! The pool against each worker package that is named, and a client like the original's against it.
//!
//! `cargo test -p pyproc-pool --test compat -- --worker NAME[:CORE]=PYTHON --worker ...`, where
//! each Python has a worker package installed, and CORE is the one of its loops that is to run. `cargo xtask compat-test` prepares them.

mod candidate;
mod gate;
mod go;
mod go_client;
mod lifecycle;
mod logs;
mod matrix;
mod odd;
mod pipelined;
mod pool;
mod process;
mod recorder;
mod wire;

#[allow(clippy::unwrap_used, reason = "a scenario that panics has failed")]
#[path = "../support/events.rs"]
mod events;
#[allow(clippy::unwrap_used, reason = "a scenario that panics has failed")]
#[path = "../support/mod.rs"]
mod support;

use std::{env, process::ExitCode};

use anyhow::{Context, Result, ensure};
use candidate::Candidate;
use matrix::{Scenario, needs_connections, needs_newest_names, scenario};

const USAGE: &str =
    "usage: cargo test -p pyproc-pool --test compat -- --worker NAME[:CORE]=PYTHON ...";

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match candidates(env::args().skip(1)) {
        Ok(candidates) => matrix::run(&scenarios(), &candidates).await,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("a call is answered", pool::call),
        scenario("an exception is an error", pool::exception),
        scenario("an unknown method is an error", pool::unknown_method),
        scenario("functions that answer have names in metrics", pool::names),
        scenario("text beyond ASCII arrives", pool::text_beyond_ascii),
        scenario("5 MiB travel both ways", pool::five_mebibytes),
        scenario("10,000 calls at once", pool::ten_thousand_calls),
        scenario(
            "10,000 frames on one connection",
            pipelined::ten_thousand_frames,
        ),
        scenario("a result that cannot be sent costs one call", odd::results),
        scenario("an input that cannot be read costs one call", odd::inputs),
        scenario(
            "a second pool is served, or gets the reason",
            odd::second_pool,
        ),
        scenario("records have their level and call", logs::records),
        scenario("what a function raised is one record", logs::exception),
        scenario("health", pool::health),
        scenario("a late reply reaches nobody", pool::late_reply),
        scenario("a repeated reply reaches nobody", wire::repeated_reply),
        scenario("no headers: no bytes for them", wire::without_headers),
        scenario("headers: their bytes", wire::with_headers),
        scenario("a worker killed under load", lifecycle::killed_under_load),
        scenario(
            "reloaded under load: no call lost",
            lifecycle::reloaded_under_load,
        ),
        scenario("shutdown leaves no process", lifecycle::shutdown),
        scenario("Go: its bytes are understood", go::bytes),
        scenario("Go: answers have the old shape", go::answers),
        scenario(
            "Go: cancelled, then connected again",
            go::cancelled_then_connected,
        ),
        scenario("Go: connected 100 times", go::connected_often),
        scenario("Go: requests without ids", go::without_ids),
        scenario(
            "Go: requests without ids, in their order",
            go::without_ids_in_order,
        ),
        scenario(
            "Go: without ids, connected again",
            go::without_ids_connected_again,
        ),
        needs_connections("Go: several connections at once", go::several_connections),
        needs_connections("Go: one id on two connections", go::one_id_twice),
        needs_connections("Go: cancelled beside others", go::cancelled_beside_others),
        needs_newest_names("Go: its newest script starts", go::newest_script),
        needs_newest_names("Go: its operation is cancelled", go::operation_cancelled),
    ]
}

fn candidates(mut arguments: impl Iterator<Item = String>) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    while let Some(argument) = arguments.next() {
        ensure!(
            argument == "--worker",
            "unknown argument `{argument}`; {USAGE}"
        );
        candidates.extend(Candidate::parse(&arguments.next().context(USAGE)?)?);
    }
    ensure!(!candidates.is_empty(), "no worker to test; {USAGE}");
    Ok(candidates)
}
