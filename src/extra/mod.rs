//! The option `extra`: templates with placeholders that are replaced for each frame, and the metadata of a message.
//!
//! - [`Template`] is compiled once from its text. [`Template::evaluate`] writes its [`Value`] for one frame.
//! - [`Metadata`] holds the labels that a DNS server passes with a message.
//!
//! Source: CoreDNS's package `plugin/pkg/replacer`. Wherever CoreDNS has a value, tapfan writes the same value.

mod evaluate;
mod metadata;
mod mnemonics;
mod placeholder;
mod template;
#[cfg(all(test, feature = "proto"))]
mod tests;
mod text;

pub use evaluate::{Origin, Tapped};
pub use metadata::{Labels, METADATA_LIMIT, Metadata};
pub(crate) use placeholder::{OwnLabel, Placeholder};
pub(crate) use template::Doubt;
pub use template::Template;
pub use text::{VALUE_LIMIT, Value};
