//! The Python environments of the benchmark's peers, under the names that the benchmark gives them.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::tools::python::Python;
use crate::tools::venv::{self, Requirement};

/// The one that every run needs.
pub(super) const OURS: &str = "ours";

const PUBLISHED: &str = "0.1.0";

/// The interpreter of an environment, which is set up first if need be.
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

/// All have NumPy for the one work that needs it; msgspec is the fastest JSON for each server that lets
/// us choose.
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
