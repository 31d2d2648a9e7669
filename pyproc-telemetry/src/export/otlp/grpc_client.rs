//! A blocking client that sends OTLP over gRPC.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataKey, MetadataValue},
    transport::{Channel, Endpoint as Target, Error},
};

use super::Failure;
use crate::{ConfigError, ExportError, OtlpConfig, StartError, config::Endpoint, error::chain};

type Metadata = Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>;

pub(crate) struct GrpcTransport {
    target: Target,
    metadata: Metadata,
    connection: Option<Connection>,
}

/// A runtime of its own, created and dropped on the exporter's thread. On the service's runtime, a blocking shutdown
/// could stop the connection's task for good.
struct Connection {
    runtime: Runtime,
    channel: Channel,
}

impl GrpcTransport {
    pub(crate) fn new(endpoint: Endpoint, config: &OtlpConfig) -> Result<Self, StartError> {
        let endpoint = Endpoint {
            path: "/".into(),
            ..endpoint
        };
        Ok(Self {
            target: target(&endpoint, config)?,
            metadata: metadata(config)?,
            connection: None,
        })
    }

    /// Sends a message by `call`, at most until `deadline`.
    pub(crate) fn send<M, A>(
        &mut self,
        message: M,
        deadline: Instant,
        call: impl AsyncFnOnce(Channel, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(message);
        request.set_timeout(left);
        for (name, value) in &self.metadata {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        let Connection { runtime, channel } = self.connection()?;
        let channel = channel.clone();
        let exchange = async { tokio::time::timeout(left, call(channel, request)).await };
        match runtime.block_on(exchange) {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => {
                let reason = format!("{}: no answer in time", self.target.uri());
                Err(ExportError::unreachable(reason).into())
            }
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, ExportError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .connect()
                .map_err(|error| ExportError::unreachable(chain(&error)))?,
        };
        Ok(self.connection.insert(connection))
    }

    fn connect(&self) -> std::io::Result<Connection> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let channel = self.target.connect_lazy();
        drop(entered);
        Ok(Connection { runtime, channel })
    }

    fn failure(&self, status: &Status) -> Failure {
        let reason = format!("{}: {}", self.target.uri(), sentence(status));
        // The protocol lists these.
        let retryable = matches!(
            status.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        );
        match retryable {
            true => ExportError::unreachable(reason).into(),
            false => ExportError::refused(reason).into(),
        }
    }
}

/// A status as a sentence, with its causes. Its own `Display` is for debugging.
fn sentence(status: &Status) -> String {
    let mut text = status.code().description().to_owned();
    if !status.message().is_empty() {
        text = format!("{text}: {}", status.message());
    }
    match std::error::Error::source(status) {
        Some(cause) => format!("{text}: {}", chain(cause)),
        None => text,
    }
}

fn target(endpoint: &Endpoint, config: &OtlpConfig) -> Result<Target, StartError> {
    let invalid = |error: Error| StartError::from(ConfigError::new("otlp.endpoint", chain(&error)));
    let target = Target::from_shared(endpoint.to_string())
        .map_err(invalid)?
        .user_agent(concat!("pyproc-telemetry/", env!("CARGO_PKG_VERSION")))
        .map_err(invalid)?
        .connect_timeout(config.timeout);
    match endpoint.tls {
        true => secured(target, config),
        false => Ok(target),
    }
}

#[cfg(feature = "tls")]
fn secured(target: Target, config: &OtlpConfig) -> Result<Target, StartError> {
    use tonic::transport::{Certificate, ClientTlsConfig};

    use crate::error::naming;

    let tls = match &config.certificate {
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| StartError::Tls(naming(path, &error).into()))?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let secured = target.tls_config(tls);
    secured.map_err(|error| StartError::Tls(error.into()))
}

#[cfg(not(feature = "tls"))]
fn secured(_target: Target, _config: &OtlpConfig) -> Result<Target, StartError> {
    let reason = "https needs the feature `tls` of pyproc-telemetry";
    Err(ConfigError::new("otlp.endpoint", reason).into())
}

fn metadata(config: &OtlpConfig) -> Result<Metadata, ConfigError> {
    let parsed = |(name, value): (&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    config
        .headers
        .iter()
        .map(|header| {
            let reason = || format!("{} cannot be sent over gRPC", header.0);
            parsed(header).ok_or_else(|| ConfigError::new("otlp.headers", reason()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_said_as_a_sentence() {
        let refused = Status::unauthenticated("who are you?");
        let text = "The request does not have valid authentication credentials: who are you?";
        assert_eq!(sentence(&refused), text);
        let down = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        let text = sentence(&down);
        assert!(text.contains("connection reset"), "{text}");
        assert!(!text.contains(['{', '"']), "{text}");
    }
}
