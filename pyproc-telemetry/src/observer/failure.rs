//! How a span describes a failed call.

use std::borrow::Cow;

use opentelemetry::{KeyValue, trace::Status};
use pyproc_pool::{Error, observe::CallOutcome};

use crate::text::{ending, truncated};

/// Spans wait in memory, and a worker's error may fill a whole frame.
const MAX_MESSAGE: usize = 4 * 1024;
const MAX_STACK: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Failure {
    /// The attribute `error.type`: the exception's name, or the kind of error.
    name: Cow<'static, str>,
    message: String,
    stack: Option<String>,
    /// The function raised it.
    pub(super) is_remote: bool,
}

impl Failure {
    pub(super) fn of(outcome: &CallOutcome<'_>) -> Option<Box<Self>> {
        match outcome {
            CallOutcome::Success => None,
            other => Self::of_failed(other).map(Box::new),
        }
    }

    #[cold]
    fn of_failed(outcome: &CallOutcome<'_>) -> Option<Self> {
        match outcome {
            CallOutcome::Success => None,
            CallOutcome::Abandoned => Some(Self {
                name: "abandoned".into(),
                message: "the caller dropped the call".into(),
                stack: None,
                is_remote: false,
            }),
            CallOutcome::Error(Error::Remote(exception)) => Some(Self {
                name: match &exception.type_name {
                    Some(name) => truncated(name, MAX_MESSAGE).to_owned().into(),
                    None => exception.kind().as_str().into(),
                },
                message: truncated(&exception.message, MAX_MESSAGE).to_owned(),
                stack: exception
                    .traceback
                    .as_deref()
                    .map(|text| ending(text, MAX_STACK).to_owned()),
                is_remote: true,
            }),
            CallOutcome::Error(error) => Some(Self {
                name: error.kind().as_str().into(),
                message: truncated(&error.to_string(), MAX_MESSAGE).to_owned(),
                stack: None,
                is_remote: false,
            }),
        }
    }

    pub(super) fn name(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    pub(super) fn status(&self) -> Status {
        Status::error(match self.is_remote {
            true => format!("{}: {}", self.name, self.message),
            false => self.message.clone(),
        })
    }

    /// The attributes of the event `exception`.
    pub(super) fn event(&self) -> Vec<KeyValue> {
        let mut event = vec![
            KeyValue::new("exception.type", self.name()),
            KeyValue::new("exception.message", self.message.clone()),
        ];
        let stack = self.stack.clone();
        event.extend(stack.map(|stack| KeyValue::new("exception.stacktrace", stack)));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_an_event_have_the_sentence_of_the_error() {
        for error in [Error::ShutDown, Error::RuntimeEnded] {
            let sentence = error.to_string();
            let failure = Failure::of(&CallOutcome::Error(&error)).unwrap();
            assert_eq!(failure.status(), Status::error(sentence.clone()));
            let message = KeyValue::new("exception.message", sentence);
            assert!(failure.event().contains(&message));
        }
    }
}
