//! Tests of the disk spool on a simulated disk. At a power loss, this disk loses, reorders and
//! tears all writes that were not synced.

#[cfg(feature = "cli")]
mod commands;
mod damage;
mod disk;
mod frames;
mod inspect;
mod model;
mod place;
mod steps;
