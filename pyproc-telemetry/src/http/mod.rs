//! `/metrics`, `/healthz` and `/readyz`.
//!
//! [`Endpoints`] answers requests: as plain functions, or as a `tower` service in the service's own server. [`Server`]
//! is a small server for services without one. What must stay true: a slow reader or many connections never stop probes
//! or other scrapes.
//!
//! ```
//! use prometheus::Registry;
//! use pyproc_telemetry::http::{Endpoints, Server, ServerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let endpoints = Endpoints::new(Registry::new()).ready_when(|| Err("no worker is ready".into()));
//! let config = ServerConfig { address: ([127, 0, 0, 1], 0).into(), ..ServerConfig::default() };
//! let server = Server::bind(config, endpoints).await?;
//! println!("http://{}/readyz", server.local_addr());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod body;
mod connections;
mod endpoints;
mod pipe;
mod scrape;
mod server;

pub use body::Body;
pub use endpoints::{Endpoints, Readiness};
pub use server::{Server, ServerConfig};
