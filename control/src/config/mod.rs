//! Configuration: TOML in, a validated [`model::Config`] out.

pub mod model;
