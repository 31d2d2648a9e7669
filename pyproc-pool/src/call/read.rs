//! Decodes a result into the caller's type.

use std::io;

use bytes::Bytes;
use pyproc_protocol::{Codec, decode_json, v2::Body};
use serde::de::DeserializeOwned;

use crate::{DecodeError, Error};

/// Decodes the result of `method`.
pub(crate) fn value<Out: DeserializeOwned>(method: &str, body: Body) -> Result<Out, Error> {
    match body.codec {
        Codec::Json => {
            decode_json(&body.bytes).map_err(|_| unreadable_json::<Out>(method, &body.bytes))
        }
        #[cfg(feature = "msgpack")]
        Codec::MessagePack => crate::call::msgpack::decode(&body.bytes)
            .map_err(|source| unreadable(method, "", DecodeError::MessagePack(source))),
        codec => Err(unreadable(method, "", DecodeError::Codec { codec })),
    }
}

/// The result of `method`, if it is bytes.
pub(crate) fn bytes(method: &str, body: Body) -> Result<Bytes, Error> {
    match body.codec {
        Codec::Raw => Ok(body.bytes),
        codec => Err(unreadable(method, "", DecodeError::Codec { codec })),
    }
}

/// Decodes a second time, and tracks the path. So only a call that fails pays for it.
#[cold]
fn unreadable_json<Out: DeserializeOwned>(method: &str, bytes: &[u8]) -> Error {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize::<_, Out>(&mut json);
    let (path, source) = match read.map(|_| json.end()) {
        Err(error) => (error.path().to_string(), error.into_inner()),
        Ok(Err(trailing)) => (String::new(), trailing),
        // A type that decodes differently the second time.
        Ok(Ok(())) => {
            let odd = io::Error::other("the type read the same bytes differently");
            (String::new(), serde::de::Error::custom(odd))
        }
    };
    unreadable(method, &path, DecodeError::Json(source))
}

fn unreadable(method: &str, path: &str, source: DecodeError) -> Error {
    Error::Decode {
        method: method.into(),
        path: if path == "." { "" } else { path }.into(),
        source,
    }
}
