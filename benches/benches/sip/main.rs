//! Signalling in numbers. Each group of figures is a module that adds its rows to one report:
//! - [`message`]: what it costs to read an INVITE, against rsip's own parser;
//! - [`calls`]: calls set up and torn down a second on one core, and how soon an INVITE has its 100 Trying at half of what is
//!   to be reached;
//! - [`dialogs`]: the memory of idle dialogs.
//!
//! The last two have the real gateway in a namespace of its own and alone on its core ([`place`]), between a carrier from
//! which calls come and one to which they go, in one thread on another core ([`peers`], of [`caller`] and [`callee`], who read
//! no more of a message than they must: [`text`]).

mod callee;
mod caller;
mod calls;
mod dialogs;
mod message;
mod peers;
mod place;
mod text;

use std::process::ExitCode;

use voxlane_benches::groups;

fn main() -> ExitCode {
    groups::main(&[
        ("message", message::measure),
        ("calls", calls::measure),
        ("dialogs", dialogs::measure),
    ])
}
