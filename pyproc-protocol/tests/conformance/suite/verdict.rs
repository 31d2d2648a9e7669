//! What a script finds out about a rule.

/// A script ends early with a [`Stop`].
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Failure),
    /// The rule says nothing about this worker, or it cannot be tried on it.
    NotApplicable(String),
}

/// How a worker broke a rule.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) expected: String,
    pub(crate) came: String,
    /// What was sent and received on the connection, a line each.
    pub(crate) transcript: Vec<String>,
}

impl Stop {
    /// A failure outside of any connection.
    pub(crate) fn failed(expected: impl Into<String>, came: impl Into<String>) -> Self {
        Self::Failed(Failure {
            expected: expected.into(),
            came: came.into(),
            transcript: Vec::new(),
        })
    }
}

pub(crate) fn not_applicable<T>(reason: &str) -> Outcome<T> {
    Err(Stop::NotApplicable(reason.into()))
}

/// The verdict on one rule.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// With what is to be said of it all the same.
    Pass(Vec<&'static str>),
    Failed(Failure),
    /// It failed, and that was to be expected for this reason.
    Known(String),
    /// It holds, although the list of known deviations says that it does not.
    NotDeviating,
    NotApplicable(String),
    /// A client cannot see it.
    NotTried(&'static str),
    /// The rule belongs to a level that the worker does not claim.
    NotReached,
}

impl Verdict {
    pub(crate) const NAMES: [&str; 6] = [
        "pass",
        "FAILED",
        "known failure",
        "not applicable",
        "not tried",
        "not reached",
    ];

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Failed(_) | Self::NotDeviating => "FAILED",
            Self::Known(_) => "known failure",
            Self::NotApplicable(_) => "not applicable",
            Self::NotTried(_) => "not tried",
            Self::NotReached => "not reached",
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::NotDeviating)
    }

    /// Whether the worker breaks the rule, also if that was to be expected.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Known(_))
    }
}

impl From<Outcome<Vec<&'static str>>> for Verdict {
    fn from(outcome: Outcome<Vec<&'static str>>) -> Self {
        match outcome {
            Ok(remarks) => Self::Pass(remarks),
            Err(Stop::Failed(failure)) => Self::Failed(failure),
            Err(Stop::NotApplicable(reason)) => Self::NotApplicable(reason),
        }
    }
}
