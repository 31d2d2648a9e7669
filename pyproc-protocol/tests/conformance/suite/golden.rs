//! The golden frames of `testdata`, as far as a client sends them.

use std::{fs, path::Path};

use serde_json::Value;

use super::verdict::{Outcome, Stop};

/// Frames that a worker must take for broken; `version` is the directory of the second, or empty.
pub(crate) fn broken(version: &str) -> Outcome<Vec<Vec<u8>>> {
    Ok(frames(version, "broken-")?
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect())
}

/// Requests, with their ids.
pub(crate) fn requests(version: &str) -> Outcome<Vec<(u64, Vec<u8>)>> {
    let frames = frames(version, "request")?.into_iter();
    Ok(frames
        .map(|(message, bytes)| (message["id"].as_u64().unwrap_or(0), bytes))
        .collect())
}

/// The messages and the bytes of all files whose names begin so.
fn frames(version: &str, start: &str) -> Outcome<Vec<(Value, Vec<u8>)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(version);
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).map_err(|error| Stop::failed(path.display().to_string(), error.to_string()))
    };
    let manifest: Value = serde_json::from_slice(&read("manifest.json")?)
        .map_err(|error| Stop::failed("a manifest", error.to_string()))?;
    let files = manifest["frames"].as_array().into_iter().flatten();
    let names = files.filter_map(|it| Some((it["file"].as_str()?, it["message"].clone())));
    names
        .filter(|(name, _)| name.starts_with(start))
        .map(|(name, message)| Ok((message, read(name)?)))
        .collect()
}
