use tracing::Level;

/// The severity of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Severity {
    pub(crate) level: Level,
    /// More severe than an error, which `tracing` has no level for.
    pub(crate) critical: bool,
}

impl Severity {
    pub(super) const INFO: Self = Self {
        level: Level::INFO,
        critical: false,
    };

    /// By Python's numbers.
    pub(crate) fn of(number: u64) -> Self {
        let level = match number {
            40.. => Level::ERROR,
            30.. => Level::WARN,
            20.. => Level::INFO,
            10.. => Level::DEBUG,
            _ => Level::TRACE,
        };
        Self {
            level,
            critical: number >= 50,
        }
    }

    /// By the numbers of pino and bunyan, which begin with 10 for traces.
    pub(super) fn of_javascript(number: u64) -> Self {
        Self::of(number.saturating_sub(10))
    }

    /// By its name in Python, loguru, and common loggers of JavaScript, Java, Go, .NET and syslog.
    pub(super) fn named(name: &str) -> Option<Self> {
        let number = match name.to_ascii_lowercase().as_str() {
            "trace" | "notset" | "silly" | "finer" | "finest" => 0,
            "debug" | "verbose" | "fine" | "http" => 10,
            "info" | "information" | "informational" | "notice" | "success" | "config" => 20,
            "warn" | "warning" => 30,
            "error" | "err" | "exception" | "severe" => 40,
            "critical" | "crit" | "fatal" | "alert" | "emerg" | "emergency" | "panic"
            | "dpanic" => 50,
            _ => return None,
        };
        Some(Self::of(number))
    }
}
