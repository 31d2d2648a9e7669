//! JSON straight into Python objects, and back.

mod decode;
mod encode;
mod keys;
mod labels;
pub(crate) mod leaf;
mod words;

pub(crate) use decode::{Decoder, Odd};
pub(crate) use encode::{append, encode, too_large};
pub(crate) use keys::Keys;
pub(crate) use labels::Labels;
