//! Messages of version 1 in the types of version 2.

use crate::{ERROR_TRACEBACK, ERROR_TYPE, Failure, v1, v2};

impl From<v1::Request> for v2::Request {
    fn from(request: v1::Request) -> Self {
        let method = v2::Method::Name(request.method);
        Self {
            headers: request.headers,
            ..Self::new(request.id, method, request.body.into())
        }
    }
}

impl From<v1::Response> for v2::Response {
    fn from(response: v1::Response) -> Self {
        let mut headers = response.headers;
        let mut header = |key: &str| headers.remove(key).unwrap_or_default();
        let failure = |message| {
            Box::new(Failure {
                type_name: header(ERROR_TYPE),
                traceback: header(ERROR_TRACEBACK),
                message,
                retryable: false,
            })
        };
        Self {
            id: response.id,
            times: None,
            result: response.result.map(Into::into).map_err(failure),
        }
    }
}

impl From<v1::RawJson> for v2::Body {
    fn from(json: v1::RawJson) -> Self {
        Self::json(json.into_bytes())
    }
}
