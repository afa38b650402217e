//! The configuration file, and what is said of mistakes in it. In one executable, which is linked once.

mod api;
mod applications;
mod check_config;
mod docs;
mod errors;
mod mutations;
mod values;
