//! An INVITE as a carrier sends it, read by the gateway and by rsip's own parser.

use std::hint::black_box;

use anyhow::Result;
use voxlane_benches::compare;
use voxlane_benches::report::{Report, Row};

use crate::invite::{INVITE, read};

/// Adds the row.
pub fn measure(report: &mut Report) -> Result<()> {
    let measured = compare("INVITE, read", read, theirs);
    let row = Row::new("an INVITE read, against rsip's own parser", measured.subject, "ns");
    report.add(row.against(measured.baseline));
    Ok(())
}

/// The start line and the headers as text.
fn theirs() -> rsip::Request {
    rsip::Request::try_from(black_box(INVITE).as_bytes()).expect("the message is sound")
}
