//! A seeded campaign of faults: whatever happens to workers, each call has exactly one outcome, its own, in time.
//!
//! `cargo xtask chaos` runs it. It is divided into rounds. The campaign's seed and the round's number decide all that a round
//! does; only the operating system's scheduling differs between two runs of one seed.

mod callers;
mod campaign;
mod descriptors;
mod inventory;
mod proxy;
mod script;
mod service;
mod storm;
mod tally;

#[allow(clippy::unwrap_used, reason = "a campaign that panics has failed")]
#[path = "../support/mod.rs"]
mod support;

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use campaign::Campaign;

const USAGE: &str =
    "usage: cargo test -p pyproc-pool --test chaos -- --seconds N --seed N --core native|python";

fn main() -> Result<ExitCode> {
    if let Some(sockets) = env::var_os(service::SOCKETS) {
        service::serve(sockets.as_ref());
    }
    let campaign = parse(env::args().skip(1))?;
    Ok(campaign.run())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Campaign> {
    let (mut duration, mut seed, mut core) = (Duration::from_secs(60), 0, "native".to_owned());
    while let Some(flag) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        match flag.as_str() {
            "--seconds" => duration = Duration::from_secs(value.parse().context(USAGE)?),
            "--seed" => seed = value.parse().context(USAGE)?,
            "--core" => core = value,
            _ => bail!("unknown argument `{flag}`; {USAGE}"),
        }
    }
    Ok(Campaign {
        duration,
        seed,
        core,
    })
}
