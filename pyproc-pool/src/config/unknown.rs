//! Variables that begin as ours do and that nothing reads: mostly slips.

use std::{env, sync::Once};

use pyproc_settings::Settings;

use super::PoolConfig;
use crate::text::nearest;

/// What others of this project read: the workers, which inherit the environment, telemetry and logging; at last what
/// its tests read. What the pool reads is declared with its settings.
const OF_OTHERS: &[&str] = &[
    "PYPROC_ALLOWED_UIDS",
    "PYPROC_CODEC_TYPE",
    "PYPROC_FORWARD_LOGS",
    "PYPROC_JSON",
    "PYPROC_LOG_COLOR",
    "PYPROC_LOG_FIELDS",
    "PYPROC_LOG_FLUSH_TIMEOUT",
    "PYPROC_LOG_FORMAT",
    "PYPROC_LOG_LEVEL",
    "PYPROC_LOG_MAX_VALUE_BYTES",
    "PYPROC_LOG_NAME",
    "PYPROC_LOG_OUTPUT",
    "PYPROC_LOG_QUEUE_BYTES",
    "PYPROC_LOG_QUEUE_LINES",
    "PYPROC_LOG_REDACT",
    "PYPROC_LOG_TARGET",
    "PYPROC_LOG_TRACE_ENABLED",
    "PYPROC_LOG_TRAVELLING",
    "PYPROC_PARENT_PID",
    "PYPROC_SERVICE_NAME",
    "PYPROC_SOCKET_MODE",
    "PYPROC_SOCKET_PATH",
    "PYPROC_SPIN_US",
    "PYPROC_TELEMETRY_ENABLED",
    "PYPROC_TELEMETRY_EXPORTER_TYPE",
    "PYPROC_TELEMETRY_SAMPLING_RATE",
    "PYPROC_TELEMETRY_SERVICE_NAME",
    "PYPROC_TRACING_ENABLED",
    "PYPROC_WORKER_CORE",
    "PYPROC_WORKER_ID",
    "PYPROC_POOL",
    "PYPROC_PROMETHEUS",
    "PYPROC_PUBLISHED_PYTHON",
    "PYPROC_STRESS_SECONDS",
    "PYPROC_SIM_CALLS",
    "PYPROC_SIM_SEED",
    "PYPROC_TEST_CORES",
];

/// Logs a warning for each, once in the life of the process.
pub(crate) fn warn_once() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        for (name, _) in env::vars_os() {
            if let Some(name) = name.to_str().filter(|it| is_unknown(it)) {
                let nearest = meant(name);
                tracing::warn!(target: "pyproc::pool", variable = name, nearest, "unknown environment variable");
            }
        }
    });
}

fn is_unknown(name: &str) -> bool {
    name.starts_with("PYPROC_") && !known().any(|known| known == name)
}

fn meant(name: &str) -> Option<&'static str> {
    nearest(name, known())
}

fn known() -> impl Iterator<Item = &'static str> {
    let rows = PoolConfig::rows().into_iter();
    let ours = rows.flat_map(|row| row.variables);
    ours.chain(OF_OTHERS).copied()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn a_slip_is_unknown_and_finds_what_was_meant() {
        for (name, expected) in [
            ("PYPROC_WORKRES", Some("PYPROC_WORKERS")),
            ("PYPROC_MAX_INFLIGHT", Some("PYPROC_MAX_IN_FLIGHT")),
            ("PYPROC_FORWARD_LOG", Some("PYPROC_FORWARD_LOGS")),
            ("PYPROC_SOMETHING_ELSE_ALTOGETHER", None),
        ] {
            assert!(is_unknown(name));
            assert_eq!(meant(name), expected, "{name}");
        }
        assert!(!is_unknown("PYPROC_WORKERS") && !is_unknown("PATH"));
    }

    /// Adds the names of variables in all files below.
    fn find(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|it| it.to_str());
            if path.is_dir() {
                find(&path, found);
            } else if matches!(extension, Some("rs" | "py")) && !path.ends_with(file!()) {
                let text = fs::read_to_string(&path).unwrap();
                let is_end = |c: char| !(c.is_ascii_uppercase() || c == '_');
                let names = text.split(is_end).filter(|it| it.starts_with("PYPROC_"));
                // Prefixes of names are in messages.
                found.extend(names.filter(|it| !it.ends_with('_')).map(str::to_owned));
            }
        }
    }

    #[test]
    fn whatever_this_project_reads_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = Vec::new();
        for dir in [
            "pyproc-logging/fields/src",
            "pyproc-pool/src",
            "pyproc-telemetry/src",
            "pyproc-logging/src",
            "pyproc-py/src",
            "pyproc-py/python",
        ] {
            // Alone, as published, the crate has no neighbours.
            if root.join(dir).is_dir() {
                find(&root.join(dir), &mut found);
            }
        }
        assert!(found.len() > 40, "{found:?}");
        found.retain(|name| is_unknown(name));
        assert_eq!(found, Vec::<String>::new(), "they belong into OF_OTHERS");
    }
}
