//! Configuration: TOML in, a validated [`model::Config`] out.

pub mod duration;
pub mod model;
