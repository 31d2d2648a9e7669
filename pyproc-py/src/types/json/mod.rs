//! JSON straight into Python objects, and back.
//!
//! A document means what Python's `json` reads from it, and a result is written as Python's `json` writes it, without
//! spaces. What is rare or fails is left to the package, which also says what is wrong.
//!
//! | file | idea |
//! | --- | --- |
//! | `decode` | a document becomes an object |
//! | `key_cache`, `text_cache` | str objects of keys and short texts that documents repeat |
//! | `fingerprint` | by which these find a text |
//! | `encode` | an object becomes a document |
//! | `scalars` | writes the values that hold no others |
//! | `encoded_keys` | keys as they were written before in the same document |

mod decode;
mod encode;
mod encoded_keys;
mod fingerprint;
mod key_cache;
mod scalars;
mod text_cache;

pub(crate) use self::decode::{Decoder, NotDecoded};
pub(crate) use self::encode::{append, encode, too_large};
pub(crate) use self::key_cache::KeyCache;
