//! Virtual environments under `target/xtask`, made once and then reused.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tools::prerequisite::Missing;
use crate::tools::python::Python;
use crate::tools::{native, process, workspace};

/// Written last: an environment without it is unfinished.
const STAMP: &str = "xtask-stamp";

/// Something for pip to install.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requirement {
    pip_arguments: Vec<String>,
    /// A file whose change requires a new installation.
    watched: Option<PathBuf>,
    /// Whether it contains our native core, which is rebuilt if its source has changed.
    native_core: bool,
}

impl Requirement {
    /// Our package with one of its extras.
    pub(crate) fn ours(extra: &str) -> Self {
        Self {
            native_core: true,
            ..Self::editable(&workspace::python_package(), &format!("[{extra}]"))
        }
    }

    /// A directory with a Python package. It is installed as editable, so that the current source runs.
    pub(crate) fn directory(path: &Path) -> Self {
        Self::editable(path, "")
    }

    /// A wheel file.
    pub(crate) fn wheel(path: &Path) -> Self {
        Self {
            pip_arguments: vec![path.display().to_string()],
            watched: Some(path.to_path_buf()),
            native_core: false,
        }
    }

    /// A version of `pyproc-worker` from PyPI.
    pub(crate) fn published(version: &str) -> Self {
        Self {
            pip_arguments: vec![format!("pyproc-worker=={version}")],
            watched: None,
            native_core: false,
        }
    }

    /// Packages from PyPI by name.
    pub(crate) fn packages(names: &[&str]) -> Self {
        Self {
            pip_arguments: names.iter().map(ToString::to_string).collect(),
            watched: None,
            native_core: false,
        }
    }

    /// This and packages from PyPI.
    pub(crate) fn with(mut self, names: &[&str]) -> Self {
        let more = Self::packages(names).pip_arguments;
        self.pip_arguments.extend(more);
        self
    }

    fn editable(path: &Path, extras: &str) -> Self {
        Self {
            pip_arguments: vec!["--editable".into(), format!("{}{extras}", path.display())],
            watched: Some(path.join("pyproject.toml")),
            native_core: false,
        }
    }
}

/// The interpreter of the environment `name`, which is made first if the
/// Python or the requirement has changed since it was last made.
pub(crate) fn ensure(name: &str, python: &Python, requirement: &Requirement) -> Result<PathBuf> {
    let home = workspace::target_dir().join("xtask");
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let directory_name = directory_name(name, python);
    let directory = home.join(&directory_name);
    let _lock = lock(&home.join(format!("{directory_name}.lock")))?;
    if requirement.native_core {
        native::build()?;
    }
    let stamp = stamp(python, requirement)?;
    if !is_current(&directory, &stamp) {
        eprintln!(
            "Setting up {}: pip installs {} ...",
            directory.display(),
            requirement.pip_arguments.join(" ")
        );
        make(&directory, python, requirement)?;
        fs::write(directory.join(STAMP), stamp).context("cannot write the environment's stamp")?;
    }
    Ok(interpreter(&directory))
}

/// Each interpreter has its own environment, also two of one version: otherwise one would recreate the other's
/// environment while its tests run.
fn directory_name(name: &str, python: &Python) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(python.executable.as_os_str().as_encoded_bytes());
    let interpreter = hasher.finish() as u32;
    format!("venv-{name}-{}-{interpreter:08x}", python.version)
}

/// A lock, so that two xtasks do not create the same environment at the same time.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// All that an environment depends on, as text.
fn stamp(python: &Python, requirement: &Requirement) -> Result<String> {
    let watched = requirement.watched.as_deref().map(digest).transpose()?;
    Ok(format!(
        "python {} {}\npip {}\nwatched {}\n",
        python.version,
        python.executable.display(),
        requirement.pip_arguments.join(" "),
        watched.unwrap_or_default(),
    ))
}

fn digest(file: &Path) -> Result<u64> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&content);
    Ok(hasher.finish())
}

fn is_current(directory: &Path, stamp: &str) -> bool {
    fs::read_to_string(directory.join(STAMP)).is_ok_and(|written| written == stamp)
}

fn make(directory: &Path, python: &Python, requirement: &Requirement) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    let mut venv = process::command(&python.executable);
    venv.args(["-m", "venv"]).arg(directory);
    process::run_quietly(&mut venv).map_err(|error| without_modules(python).unwrap_or(error))?;
    let mut pip = process::command(interpreter(directory));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ])
    .args(&requirement.pip_arguments);
    process::run_quietly(&mut pip)?;
    Ok(())
}

fn interpreter(directory: &Path) -> PathBuf {
    directory.join("bin/python")
}

/// Debian packages `venv` and `ensurepip` separately from Python.
fn without_modules(python: &Python) -> Option<anyhow::Error> {
    let mut import = process::command(&python.executable);
    if process::succeeds(import.args(["-c", "import ensurepip, venv"])) {
        return None;
    }
    let message = format!(
        "{} (Python {}) cannot make virtual environments: its modules venv and ensurepip are \
         not installed\nInstall them (Debian and Ubuntu: `apt-get install python3-venv`), \
         or name another Python with --python PATH.",
        python.executable.display(),
        python.version,
    );
    Some(Missing(message).into())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::tools::python::Version;

    fn python(version: &str) -> Python {
        let version = Version::parse(version).unwrap();
        Python {
            executable: "/opt/bin/python3".into(),
            version,
        }
    }

    fn package() -> (TempDir, Requirement) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("pyproject.toml"), "[project]").unwrap();
        let requirement = Requirement::directory(directory.path());
        (directory, requirement)
    }

    #[test]
    fn the_stamp_stays_while_nothing_changes() {
        let (_directory, requirement) = package();
        let first = stamp(&python("3.11.7"), &requirement).unwrap();
        assert_eq!(first, stamp(&python("3.11.7"), &requirement).unwrap());
    }

    #[test]
    fn another_python_or_requirement_or_project_file_changes_the_stamp() {
        let (directory, requirement) = package();
        let before = stamp(&python("3.11.7"), &requirement).unwrap();
        assert_ne!(before, stamp(&python("3.12.1"), &requirement).unwrap());
        let other = Requirement::published("0.1.0");
        assert_ne!(before, stamp(&python("3.11.7"), &other).unwrap());
        fs::write(directory.path().join("pyproject.toml"), "[build-system]").unwrap();
        assert_ne!(before, stamp(&python("3.11.7"), &requirement).unwrap());
    }

    #[test]
    fn two_interpreters_of_one_version_have_an_environment_each() {
        let (one, mut other) = (python("3.11.7"), python("3.11.7"));
        other.executable = "/usr/bin/python3".into();
        assert_eq!(directory_name("test", &one), directory_name("test", &one));
        assert_ne!(directory_name("test", &one), directory_name("test", &other));
    }

    #[test]
    fn an_environment_without_the_right_stamp_is_not_current() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_current(directory.path(), "new"));
        fs::write(directory.path().join(STAMP), "old").unwrap();
        assert!(!is_current(directory.path(), "new"));
        assert!(is_current(directory.path(), "old"));
    }

    #[test]
    fn a_package_without_a_project_file_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let requirement = Requirement::directory(directory.path());
        let error = stamp(&python("3.11.7"), &requirement).unwrap_err();
        assert!(error.to_string().contains("pyproject.toml"), "{error}");
    }

    #[test]
    fn extras_are_part_of_what_pip_installs() {
        let requirement = Requirement::ours("test");
        assert!(requirement.pip_arguments[1].ends_with("pyproc-py[test]"));
    }
}
