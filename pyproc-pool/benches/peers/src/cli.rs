//! What the program is asked to do.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::{
    catalog::{self, Selection},
    client, report,
    run::Run,
};

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

/// Does what the arguments say.
pub fn main() -> Result<()> {
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
