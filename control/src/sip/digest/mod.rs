//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760), in both roles, sans-IO.
//!
//! Both roles share [`params`] (the grammar of the four headers), [`algorithm`] (the hashes and what is hashed),
//! [`challenge`] and [`credentials`] (what the headers say) and [`login`] (who we are, or who they are to be).
//!
//! - [`client`] answers the challenges of carriers, and counts up the nonce of each for the requests that follow;
//! - [`server`] says which trunk a call comes from: by its source, by its credentials, or by both; [`nonce`] makes the
//!   nonces that it challenges with and knows them again.
//!
//! What is offered is `qop=auth`; what is answered is that, or a challenge without qop as RFC 2069 has it.

pub mod algorithm;
pub mod challenge;
pub mod client;
pub mod credentials;
pub mod login;
pub mod nonce;
pub mod params;
pub mod server;

pub use algorithm::Algorithm;
pub use challenge::{Challenge, Challenger};
pub use client::{Attempt, Client, Logins, Refused};
pub use credentials::Credentials;
pub use login::{Login, Proof, Secret};
pub use nonce::NonceKey;
pub use server::{Admission, Auth, Entrance, Verdict};
