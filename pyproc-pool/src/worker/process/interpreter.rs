//! Which interpreter runs the worker's script, and whether it has the package `pyproc_worker`.

use std::{
    env,
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf, absolute},
};

use crate::PoolConfig;

/// The program to start. A path is relative to the service's directory, not the worker's; a plain name is searched in
/// `PATH`.
pub(in crate::worker) fn program(python: &Path) -> PathBuf {
    match python.components().count() {
        1 => python.into(),
        _ => absolute(python).unwrap_or_else(|_| python.into()),
    }
}

/// The file behind `python_exec`.
pub(in crate::worker) fn that_runs(config: &PoolConfig) -> PathBuf {
    let program = program(&config.python_exec);
    if program.is_absolute() {
        return program;
    }
    let path = config.env.get("PATH").map(OsString::from);
    let path = path.or_else(|| env::var_os("PATH")).unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join(&program));
    found
        .into_iter()
        .find(|it| is_program(it))
        .unwrap_or(program)
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Whether Python's last output reports that the package `pyproc_worker` is missing.
pub(in crate::worker) fn lacks_package(output: &str) -> bool {
    let missing = "ModuleNotFoundError: No module named 'pyproc_worker'";
    output.lines().any(|line| line.trim_end() == missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn that_runs(python: &str, path: &str) -> PathBuf {
        let mut config = PoolConfig {
            python_exec: python.into(),
            ..PoolConfig::default()
        };
        config.env.insert("PATH".into(), path.into());
        super::that_runs(&config)
    }

    #[test]
    fn a_plain_name_is_looked_up_in_the_path_of_the_workers() {
        let path = "/no/such/dir:/etc:/bin:/usr/bin";
        assert_eq!(that_runs("sh", path), Path::new("/bin/sh"));
        // It is there, and no program.
        assert_eq!(that_runs("passwd", "/etc"), Path::new("passwd"));
        assert_eq!(
            that_runs("/venv/bin/python", path),
            Path::new("/venv/bin/python")
        );
    }

    #[test]
    fn only_the_missing_package_itself_is_what_is_missing() {
        let traceback =
            |module| format!("Traceback ...:\nModuleNotFoundError: No module named '{module}'\n");
        assert!(lacks_package(&traceback("pyproc_worker")));
        assert!(!lacks_package(&traceback("pyproc_worker.telemetry")));
        assert!(!lacks_package(&traceback("numpy")));
    }
}
