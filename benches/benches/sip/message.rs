//! An INVITE as a carrier sends it, read by the gateway and by rsip's own parser.

use std::hint::black_box;

use anyhow::Result;
use voxlane::sip::syntax::frame;
use voxlane::sip::syntax::message::Message;
use voxlane_benches::compare;
use voxlane_benches::report::{Report, Row};

const INVITE: &str = concat!(
    "INVITE sip:+15550001@203.0.113.50:5060 SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK74bf9a2c1;rport\r\n",
    "Record-Route: <sip:198.51.100.10;lr>\r\n",
    "Max-Forwards: 69\r\n",
    "From: \"Caller\" <sip:+15550123@198.51.100.10>;tag=9fxced76sl\r\n",
    "To: <sip:+15550001@203.0.113.50>\r\n",
    "Call-ID: 3848276298220188511@198.51.100.10\r\n",
    "CSeq: 1 INVITE\r\n",
    "Contact: <sip:+15550123@198.51.100.10:5060>\r\n",
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n",
    "Supported: timer, 100rel\r\n",
    "User-Agent: carrier\r\n",
    "Content-Type: application/sdp\r\n",
    "Content-Length: 167\r\n",
    "\r\n",
    "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n",
    "m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n",
);

/// Adds the row.
pub fn measure(report: &mut Report) -> Result<()> {
    let measured = compare("INVITE, read", ours, theirs);
    let row = Row::new("an INVITE read, against rsip's own parser", measured.subject, "ns");
    report.add(row.against(measured.baseline));
    Ok(())
}

/// Framing, start line, normalised headers, and the fields every request must have, checked.
fn ours() -> Message {
    let framed = frame(black_box(INVITE).as_bytes()).expect("the message is sound");
    Message::new(framed).expect("the message is sound")
}

/// The start line and the headers as text.
fn theirs() -> rsip::Request {
    rsip::Request::try_from(black_box(INVITE).as_bytes()).expect("the message is sound")
}
