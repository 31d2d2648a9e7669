//! Finds a Python interpreter that runs and has a suitable version.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Result, bail};

use crate::tools::prerequisite::Missing;

/// The `--python` flag that most commands share.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct PythonArg {
    /// Use this Python interpreter [default: $PYTHON, else the first suitable one on PATH].
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

impl PythonArg {
    /// The interpreter to work with: the one asked for, or the first on PATH.
    pub(crate) fn find(&self) -> Result<Python> {
        let variable = env::var_os("PYTHON").filter(|value| !value.is_empty());
        match self.python.clone().or(variable.map(PathBuf::from)) {
            Some(asked_for) => find(Versions::OURS, [asked_for]),
            None => find(Versions::OURS, on_path()),
        }
    }
}

/// An interpreter that has been run once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Python {
    pub(crate) executable: PathBuf,
    pub(crate) version: Version,
}

impl Python {
    /// This interpreter if the published worker runs on it, else another one
    /// on this machine.
    pub(crate) fn for_published_worker(&self) -> Result<Python> {
        if Versions::PUBLISHED_WORKER.contain(self.version) {
            return Ok(self.clone());
        }
        find(
            Versions::PUBLISHED_WORKER,
            on_path().chain(of_version_managers()),
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    const fn new(major: u32, minor: u32) -> Self {
        Self {
            major,
            minor,
            patch: 0,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().splitn(3, '.').map(|part| part.parse().ok());
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A range of Python versions.
#[derive(Clone, Copy)]
struct Versions {
    least: Version,
    below: Option<Version>,
}

impl Versions {
    const OURS: Self = Self {
        least: Version::new(3, 9),
        below: None,
    };
    /// What `pyproc-worker` 0.1.0 declares on PyPI.
    const PUBLISHED_WORKER: Self = Self {
        least: Version::new(3, 9),
        below: Some(Version::new(3, 13)),
    };

    fn contain(self, version: Version) -> bool {
        version >= self.least && self.below.is_none_or(|below| version < below)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Python {}.{} or newer",
            self.least.major, self.least.minor
        )?;
        match self.below {
            Some(below) => write!(f, ", but older than {}.{}", below.major, below.minor),
            None => Ok(()),
        }
    }
}

fn find(versions: Versions, candidates: impl IntoIterator<Item = PathBuf>) -> Result<Python> {
    choose(versions, candidates, probe)
        .map_err(|rejected| Missing(explain(versions, &rejected)).into())
}

type Rejected = (PathBuf, String);

/// The first candidate that runs and is suitable; otherwise why each one was rejected.
fn choose(
    versions: Versions,
    candidates: impl IntoIterator<Item = PathBuf>,
    probe: impl Fn(&Path) -> Result<Python>,
) -> Result<Python, Vec<Rejected>> {
    let mut rejected = Vec::new();
    for candidate in candidates {
        match probe(&candidate) {
            Ok(python) if versions.contain(python.version) => return Ok(python),
            Ok(python) => rejected.push((candidate, format!("is Python {}", python.version))),
            Err(reason) => rejected.push((candidate, reason.to_string())),
        }
    }
    Err(rejected)
}

fn explain(versions: Versions, rejected: &[Rejected]) -> String {
    let mut text = format!("{versions} is needed, and none was found");
    for (path, reason) in rejected {
        let _ = write!(text, "\n  {} {reason}", path.display());
    }
    text + "\nInstall one (Debian and Ubuntu: `apt-get install python3 python3-venv`; \
            macOS: `brew install python`; all: https://www.python.org/downloads/), \
            or name one with --python PATH or the variable PYTHON."
}

/// Runs the interpreter: a launcher on PATH (of pyenv, for example) may have no interpreter, and the real executable is
/// elsewhere.
fn probe(candidate: &Path) -> Result<Python> {
    const SCRIPT: &str =
        "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)";
    let output = Command::new(candidate)
        .args(["-c", SCRIPT])
        .env_remove("PYTHONHOME")
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) => bail!("does not run ({})", output.status),
        Err(error) => bail!("cannot be started ({error})"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    match (lines.next().and_then(Version::parse), lines.next()) {
        (Some(version), Some(executable)) => Ok(Python {
            executable: executable.into(),
            version,
        }),
        _ => bail!("does not answer like a Python interpreter"),
    }
}

/// Every file on PATH that is named like an interpreter, the plain names first.
fn on_path() -> impl Iterator<Item = PathBuf> {
    let plain = ["python3", "python"].map(String::from);
    let versioned = (9..=14).rev().map(|minor| format!("python3.{minor}"));
    let directories: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    plain
        .into_iter()
        .chain(versioned)
        .flat_map(move |name| {
            directories
                .iter()
                .map(|directory| directory.join(&name))
                .collect::<Vec<_>>()
        })
        .filter(|path| path.is_file())
}

/// The interpreters that pyenv, asdf, mise and uv keep off PATH.
fn of_version_managers() -> impl Iterator<Item = PathBuf> {
    let home = env::home_dir().unwrap_or_default();
    let pyenv = env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    [
        pyenv.join("versions"),
        home.join(".asdf/installs/python"),
        home.join(".local/share/mise/installs/python"),
        home.join(".local/share/uv/python"),
    ]
    .into_iter()
    .flat_map(|installations| {
        let mut found: Vec<_> = fs::read_dir(installations)
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        found.sort_by_key(fs::DirEntry::file_name);
        found
            .into_iter()
            .map(|installation| installation.path().join("bin/python3"))
    })
    .filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn versions_are_compared_by_number_not_by_text() {
        assert!(Version::parse("3.10.1").unwrap() > Version::parse("3.9.18").unwrap());
        assert_eq!(Version::parse("3.9.0\n"), Some(Version::new(3, 9)));
    }

    #[test]
    fn text_that_is_no_version_is_refused() {
        for text in ["", "3", "3.11", "three.11.0", "3.11.x", "3.-1.0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_published_worker_runs_from_3_9_to_3_12() {
        let fits = |text| Versions::PUBLISHED_WORKER.contain(Version::parse(text).unwrap());
        assert!(!fits("3.8.20") && fits("3.9.0") && fits("3.12.9") && !fits("3.13.0"));
        assert!(Versions::OURS.contain(Version::new(3, 13)));
    }

    fn scripted_probe(path: &Path) -> Result<Python> {
        let name = path.to_string_lossy();
        let version = Version::parse(&name).ok_or_else(|| anyhow!("does not run"))?;
        Ok(Python {
            executable: path.into(),
            version,
        })
    }

    #[test]
    fn the_first_candidate_that_runs_and_fits_is_taken() {
        let candidates = ["broken", "2.7.18", "3.11.7", "3.12.1"].map(PathBuf::from);
        let chosen = choose(Versions::OURS, candidates, scripted_probe).unwrap();
        assert_eq!(
            chosen.version,
            Version {
                major: 3,
                minor: 11,
                patch: 7
            }
        );
    }

    #[test]
    fn without_a_fitting_candidate_the_message_lists_what_was_found() {
        let candidates = ["broken", "3.8.18"].map(PathBuf::from);
        let rejected = choose(Versions::OURS, candidates, scripted_probe).unwrap_err();
        let message = explain(Versions::OURS, &rejected);
        assert!(
            message.starts_with("Python 3.9 or newer is needed"),
            "{message}"
        );
        assert!(message.contains("\n  broken does not run"), "{message}");
        assert!(message.contains("\n  3.8.18 is Python 3.8.18"), "{message}");
        assert!(message.contains("apt-get install python3"), "{message}");
    }

    #[test]
    fn a_launcher_that_fails_is_refused_with_its_exit_status() {
        let reason = probe(Path::new("false")).unwrap_err().to_string();
        assert_eq!(reason, "does not run (exit status: 1)");
    }

    #[test]
    fn a_program_that_is_no_python_is_refused() {
        let reason = probe(Path::new("echo")).unwrap_err().to_string();
        assert_eq!(reason, "does not answer like a Python interpreter");
    }
}
