//! Turns a function of a test into what a worker runs: bodies in, bodies or failures out.

use std::{
    fmt::Display,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use pyproc_protocol::{Codec, Failure, decode_json, encode_json, v2::Body};
use serde::{Serialize, de::DeserializeOwned};

use crate::RemoteException;

pub(super) type Function = Arc<dyn Fn(Body) -> Call + Send + Sync>;
pub(super) type Call = Pin<Box<dyn Future<Output = Result<Body, Failure>> + Send>>;

/// Its result is encoded as its input is.
pub(super) fn of_values<In, Out, Fut>(
    function: impl Fn(In) -> Fut + Send + Sync + 'static,
) -> Function
where
    In: DeserializeOwned,
    Out: Serialize,
    Fut: Future<Output = Result<Out, RemoteException>> + Send + 'static,
{
    Arc::new(move |body| match decode(&body) {
        Ok(input) => {
            let (codec, call) = (body.codec, function(input));
            Box::pin(async move { encode(codec, &call.await.map_err(failure)?) })
        }
        Err(refused) => Box::pin(ready(Err(refused))),
    })
}

pub(super) fn of_bytes<Out, Fut>(
    function: impl Fn(Bytes) -> Fut + Send + Sync + 'static,
) -> Function
where
    Out: Into<Bytes>,
    Fut: Future<Output = Result<Out, RemoteException>> + Send + 'static,
{
    Arc::new(move |body| {
        let call = function(body.bytes);
        Box::pin(async move {
            let bytes = call.await.map_err(failure)?.into();
            let codec = Codec::Raw;
            Ok(Body { codec, bytes })
        })
    })
}

fn decode<In: DeserializeOwned>(body: &Body) -> Result<In, Failure> {
    match body.codec {
        Codec::Json => decode_json(&body.bytes).map_err(refusal),
        #[cfg(feature = "msgpack")]
        Codec::MessagePack => crate::call::msgpack::decode(&body.bytes).map_err(refusal),
        other => Err(refusal(format!("the function takes no {other:?}"))),
    }
}

fn encode<Out: Serialize>(codec: Codec, output: &Out) -> Result<Body, Failure> {
    let encoded = match codec {
        #[cfg(feature = "msgpack")]
        Codec::MessagePack => crate::call::msgpack::encode(output, usize::MAX),
        _ => {
            let mut bytes = Vec::new();
            encode_json(output, usize::MAX, &mut bytes).map(|()| bytes)
        }
    };
    let bytes = encoded.map_err(unwritable)?.into();
    Ok(Body { codec, bytes })
}

/// The failure for an input of another type.
fn refusal(why: impl Display) -> Failure {
    Failure {
        type_name: RemoteException::INVALID_REQUEST.into(),
        message: why.to_string(),
        ..Failure::default()
    }
}

/// The failure for a result that cannot be sent.
pub(super) fn unwritable(why: impl Display) -> Failure {
    Failure {
        type_name: "ValueError".into(),
        message: why.to_string(),
        ..Failure::default()
    }
}

/// The exception's method and worker are left out: the caller sets those of the call.
fn failure(raised: RemoteException) -> Failure {
    Failure {
        type_name: raised.type_name.unwrap_or_default(),
        message: raised.message,
        traceback: raised.traceback.unwrap_or_default(),
        retryable: raised.retryable,
    }
}
