//! What a call costs, beside floors and peers: `cargo xtask bench`.
//!
//! All sessions of a round run one after another, and rounds repeat, so that what the
//! machine does besides hits all peers alike; the table has the medians over the rounds. Compare
//! within one run only.

mod catalog;
mod client;
mod report;
mod run;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::{catalog::Selection, run::Run};

#[derive(Parser)]
#[command(about = "Run this by `cargo xtask bench`.")]
enum Command {
    /// Measure all peers.
    Run(Run),
    /// Name the Python environments that the selected peers need, one on a line.
    Environments(Selection),
    /// Draw results as SVG.
    Plot {
        /// Made by `run`.
        results: PathBuf,
        /// To be written.
        svg: PathBuf,
    },
    /// Take the steps of one session.
    #[command(hide = true)]
    Client {
        /// As JSON.
        session: String,
    },
    /// Send back what arrives.
    #[command(hide = true)]
    Pong {
        /// Where the other side listens.
        socket: PathBuf,
        /// Ask again and again instead of sleeping.
        #[arg(long)]
        spin: bool,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Run(run) => run.run(),
        Command::Environments(selection) => {
            for environment in catalog::environments(&selection)? {
                println!("{environment}");
            }
            Ok(())
        }
        Command::Plot { results, svg } => report::draw(&report::read(&results)?, &svg),
        Command::Client { session } => client::take_steps(&serde_json::from_str(&session)?),
        Command::Pong { socket, spin } => client::floor::pong(&socket, spin),
    }
}
