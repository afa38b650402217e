//! What the fuzz targets `message` and `endpoint` do with arbitrary input, and what must hold whatever it is. Kept here
//! so that `cargo test` runs it, too, over the corpus.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the fuzz targets use a part; in a test, an assertion"
)]

pub mod endpoint;
pub mod message;
pub mod sdp;
