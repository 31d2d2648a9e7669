//! The Python environments of the benchmark's peers, under the benchmark's names.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::tools::python::Python;
use crate::tools::venv::{self, Requirement};

/// The environment that every run needs.
pub(super) const OURS: &str = "ours";

const PUBLISHED: &str = "0.1.0";

/// The interpreter of an environment, which is created first if necessary.
pub(super) fn ensure(name: &str, python: &Python) -> Result<PathBuf> {
    let (requirement, python) = match name {
        "published-0.1.0" => (
            Requirement::published(PUBLISHED).with(&["numpy"]),
            python.for_published_worker()?,
        ),
        _ => (requirement(name)?, python.clone()),
    };
    venv::ensure(&format!("bench-{name}"), &python, &requirement)
}

/// All have NumPy for the work that needs it. Servers with a choice of JSON library use msgspec, the fastest one.
fn requirement(name: &str) -> Result<Requirement> {
    Ok(match name {
        OURS => Requirement::ours("fast").with(&["numpy"]),
        "grpc" => Requirement::packages(&["grpcio", "msgspec", "numpy"]),
        "uvicorn" => Requirement::packages(&["uvicorn", "uvloop", "httptools", "msgspec", "numpy"]),
        "mosec" => Requirement::packages(&["mosec", "msgspec", "numpy"]),
        "pyzmq" => Requirement::packages(&["pyzmq", "msgspec", "numpy"]),
        _ => bail!("no Python environment `{name}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_environment_is_an_error_that_names_it() {
        let error = requirement("elsewhere").unwrap_err().to_string();
        assert!(error.contains("elsewhere"), "{error}");
    }
}
