//! The router that `status` and `top` look at: where its admin endpoint is, and what it answers.

mod address;
mod client;
mod whereabouts;

pub(super) use self::{
    address::Address,
    client::{FetchError, Look, fetch},
    whereabouts::{RouterArgs, Whereabouts},
};
