//! `https`, with rustls.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{StartError, error::naming};

pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(host: &str, certificate: Option<&Path>) -> Result<Self, StartError> {
        let roots = match certificate {
            Some(path) => from_file(path),
            None => from_system(),
        }
        .map_err(StartError::Tls)?;
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| StartError::Tls(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned());
        Ok(Self {
            connector: Arc::new(config).into(),
            name: name.map_err(|error| StartError::Tls(error.into()))?,
        })
    }

    pub(super) async fn wrap(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), tcp).await
    }
}

type Roots = Result<RootCertStore, Box<dyn std::error::Error + Send + Sync>>;

fn from_file(path: &Path) -> Roots {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(path).map_err(|error| naming(path, &error))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err(format!("{} holds no certificate", path.display()).into());
    }
    Ok(roots)
}

fn from_system() -> Roots {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match (added, found.errors.into_iter().next()) {
        (0, Some(error)) => Err(error.into()),
        (0, None) => Err("the system has no certificates to trust; name a file of them".into()),
        _ => Ok(roots),
    }
}
