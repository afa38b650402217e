//! SDP: offers, answers, keys. In one executable, which is linked once.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod mutations;
mod offer_answer;
mod srtp;
