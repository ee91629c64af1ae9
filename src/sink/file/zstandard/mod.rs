//! Zstandard compression (RFC 8878) for files. Only `present.rs` uses the crate zstd. If the feature `zstd` is off,
//! `absent.rs` is compiled instead, and the configuration refuses `compress zstd`.

#[cfg(not(feature = "zstd"))]
mod absent;
#[cfg(feature = "zstd")]
mod present;

#[cfg(not(feature = "zstd"))]
pub(super) use absent::{Compressor, decompress};
#[cfg(feature = "zstd")]
pub(super) use present::{Compressor, decompress};
