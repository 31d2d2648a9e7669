//! `https`, with rustls.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::Plain;
use crate::{StartError, error::naming};

pub(super) type Stream = StreamOwned<ClientConnection, Plain>;

pub(super) struct Tls {
    config: Arc<ClientConfig>,
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
            config: Arc::new(config),
            name: name.map_err(|error| StartError::Tls(error.into()))?,
        })
    }

    pub(super) fn wrap(&self, plain: Plain) -> io::Result<Box<Stream>> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, plain)))
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
