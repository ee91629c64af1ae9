//! The spool on a simulated disk, which loses, reorders and tears everything that was not synced.

mod damage;
mod disk;
mod frames;
mod model;
mod steps;
