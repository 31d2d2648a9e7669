//! An error that a worker answered: the exception of a function, or the worker's own.

use std::{fmt, sync::Arc};

use crate::{
    ErrorKind,
    text::{Printable, nearest},
};

/// An error that a worker answered: an exception that the function raised, or an error of the worker itself.
///
/// The wire does not tell the two apart: a function may raise the worker's own types of errors, too.
///
/// ```
/// use pyproc_pool::{Error, ErrorKind, RemoteException};
///
/// /// The part of a service that is to be tested.
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::InvalidRequest => 422,
///         ErrorKind::NotFound => 404,
///         _ => 500,
///     }
/// }
///
/// let raised = RemoteException::new("predict", "shop.errors.NoSuchModel", "no model named x");
/// assert_eq!(status(&Error::Remote(raised)), 500);
/// let invalid = RemoteException::new("predict", RemoteException::INVALID_REQUEST, "value: missing");
/// assert_eq!(status(&Error::Remote(invalid)), 422);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteException {
    /// The function's name.
    pub method: String,
    /// The worker's slot.
    pub worker: usize,
    /// Qualified name of the exception's type, such as `KeyError`; `None` from an old worker, which does not send it.
    pub type_name: Option<String>,
    /// The exception's text.
    pub message: String,
    /// The formatted traceback; `None` from an old worker.
    pub traceback: Option<String>,
    /// Whether the worker expects that the same call may succeed when it is made again. The function may have run in
    /// part.
    pub retryable: bool,
    /// Boxed, as it is rare, and results of calls have room for it.
    functions: Option<Box<Functions>>,
}

/// The names under which a worker has functions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Functions(Vec<Arc<str>>);

/// How many functions a text names at most.
const MOST_NAMED: usize = 16;

/// What each worker of ours has.
const BUILT_IN: &str = "health";

impl RemoteException {
    /// Type of the error that a worker answers to an input that does not fit the function. A function may raise it, too.
    pub const INVALID_REQUEST: &str = "pyproc_worker.InvalidRequest";

    /// Type of the error that a worker answers to a call of a function that it does not have. A function may raise it,
    /// too.
    pub const METHOD_NOT_FOUND: &str = "pyproc_worker.MethodNotFound";

    /// What `method` of worker 0 raised, without a traceback, such as for tests of code that handles errors. The other
    /// fields can be set.
    pub fn new(
        method: impl Into<String>,
        type_name: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            method: method.into(),
            worker: 0,
            type_name: Some(type_name.into()),
            message: message.into(),
            traceback: None,
            retryable: false,
            functions: None,
        }
    }

    /// The same, from a worker that has these functions.
    pub fn with_functions<N: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.functions = Some(Box::new(Functions(names)));
        self
    }

    /// For an error of the kind [`NotFound`](ErrorKind::NotFound): the names under which the worker has functions. Empty
    /// if the worker does not send them, as an old one.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = &str> {
        let functions = self.functions.as_deref();
        let names = functions.map_or(&[][..], |it| &it.0);
        names.iter().map(AsRef::as_ref)
    }

    /// [`NotFound`](ErrorKind::NotFound) and [`InvalidRequest`](ErrorKind::InvalidRequest) for the worker's own errors of
    /// these types, else [`FunctionError`](ErrorKind::FunctionError).
    ///
    /// A worker answers these two before the function runs. But a function that raises one of these types gets the same
    /// kind, and it may have run in part.
    pub fn kind(&self) -> ErrorKind {
        match self.type_name.as_deref() {
            Some(Self::METHOD_NOT_FOUND) => ErrorKind::NotFound,
            Some(Self::INVALID_REQUEST) => ErrorKind::InvalidRequest,
            // An old worker sends no type.
            None if self.message == format!("Method '{}' not found", self.method) => {
                ErrorKind::NotFound
            }
            _ => ErrorKind::FunctionError,
        }
    }
}

impl fmt::Display for RemoteException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, message) = (&self.method, Printable(&self.message));
        match self.kind() {
            ErrorKind::NotFound => {
                write!(f, "`{method}` failed with MethodNotFound: {message}")?;
                self.write_functions(f)
            }
            ErrorKind::InvalidRequest => {
                write!(f, "`{method}` failed with InvalidRequest: {message}")
            }
            _ => {
                let name = Printable(self.type_name.as_deref().unwrap_or("an error"));
                write!(f, "`{method}` raised {name}: {message}")
            }
        }
    }
}

impl RemoteException {
    /// Which function the caller may have meant.
    fn write_functions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The function exists, and raised the error itself.
        if self.functions().any(|it| it == self.method) {
            return Ok(());
        }
        if self.functions().eq([BUILT_IN]) {
            return write!(
                f,
                "; its script exposes no function, and it has only the built-in `{BUILT_IN}`: put @expose above each \
                 function that is to be called"
            );
        }
        if let Some(meant) = nearest(&self.method, self.functions()) {
            write!(f, " (did you mean `{}`?)", Printable(meant))?;
        }
        for (at, name) in self.functions().take(MOST_NAMED).enumerate() {
            let before = if at == 0 { "; the worker has" } else { "," };
            write!(f, "{before} `{}`", Printable(name))?;
        }
        match self.functions().len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_found(functions: &[&str]) -> String {
        let exception = RemoteException::new(
            "predcit",
            RemoteException::METHOD_NOT_FOUND,
            "Method 'predcit' not found",
        )
        .with_functions(functions.iter().copied());
        let text = exception.to_string();
        let rest =
            text.strip_prefix("`predcit` failed with MethodNotFound: Method 'predcit' not found");
        rest.map(str::to_owned).unwrap_or(text)
    }

    #[test]
    fn types_of_the_worker_have_a_kind_and_a_text_that_fit_a_function_that_raises_them() {
        use ErrorKind::{FunctionError, InvalidRequest, NotFound};
        let no_such = "Method 'f' not found";
        for (type_name, message, kind, text) in [
            (
                Some("pyproc_worker.MethodNotFound"),
                "no",
                NotFound,
                "`f` failed with MethodNotFound: no",
            ),
            (
                Some("pyproc_worker.InvalidRequest"),
                "no",
                InvalidRequest,
                "`f` failed with InvalidRequest: no",
            ),
            (
                Some("KeyError"),
                "no",
                FunctionError,
                "`f` raised KeyError: no",
            ),
            (
                Some("LookupError"),
                no_such,
                FunctionError,
                "`f` raised LookupError: Method 'f' not found",
            ),
            (
                None,
                no_such,
                NotFound,
                "`f` failed with MethodNotFound: Method 'f' not found",
            ),
            (
                None,
                "Method 'g' not found",
                FunctionError,
                "`f` raised an error: Method 'g' not found",
            ),
        ] {
            let mut exception = RemoteException::new("f", "", message);
            exception.type_name = type_name.map(Into::into);
            assert_eq!((exception.kind(), &*exception.to_string()), (kind, text));
        }
    }

    #[test]
    fn the_text_of_an_unknown_name_has_the_nearest_name_and_all_names() {
        assert_eq!(not_found(&[]), "");
        assert_eq!(
            not_found(&["add", "health", "predict"]),
            " (did you mean `predict`?); the worker has `add`, `health`, `predict`"
        );
        assert_eq!(
            not_found(&["add", "health"]),
            "; the worker has `add`, `health`"
        );
        assert!(not_found(&["health"]).contains("exposes no function"));
        // The function exists, and raised the error itself.
        assert_eq!(not_found(&["predcit", "predict"]), "");
    }

    #[test]
    fn many_functions_are_counted_and_odd_names_do_no_harm() {
        let names: Vec<String> = (0..100).map(|at| format!("other_{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(not_found(&names).ends_with("`other_15` and 84 more"));
        assert_eq!(
            not_found(&["a\u{1b}[2J", "b"]),
            "; the worker has `a\\u001b[2J`, `b`"
        );
    }
}
