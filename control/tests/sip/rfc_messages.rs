//! Every message of RFC 4475 and RFC 5118, as it stands there, and what those documents ask of a user agent that takes
//! calls and is no registrar: for REGISTER and MESSAGE that they are understood, and answered 405.
//!
//! The messages are files of `fuzz/corpus/message`, with which fuzzing begins. Of `mpart01` the signature is made up, as it
//! is no text; Content-Length is right in those of RFC 5118 where that document's is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::support::wire::{LOCAL, REMOTE, Wire, header};
use Expected::{Call, Dropped, Status};
use voxlane::sip::{ConnectionId, Event, Input, Path, Transport};

#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It is a call.
    Call,
    /// It is answered so, with this header, if any.
    Status(u16, &'static str),
    /// It is not answered, and counted as damaged or as belonging to nothing.
    Dropped,
}

const MESSAGES: [(&str, Expected); 61] = [
    // RFC 4475 section 3.1.1: valid. The first has the tag of a dialog that is not there.
    ("rfc4475_wsinv", Status(481, "")),
    ("rfc4475_intmeth", Status(501, "Allow")),
    ("rfc4475_esc01", Call),
    ("rfc4475_escnull", Status(405, "Allow")),
    ("rfc4475_esc02", Status(501, "Allow")),
    ("rfc4475_lwsdisp", Status(200, "Accept")),
    ("rfc4475_longreq", Call),
    ("rfc4475_dblreq", Status(405, "Allow")),
    ("rfc4475_semiuri", Status(200, "Accept")),
    ("rfc4475_transports", Status(200, "Accept")),
    ("rfc4475_mpart01", Status(405, "Allow")),
    ("rfc4475_unreason", Dropped),
    ("rfc4475_noreason", Dropped),
    // Section 3.1.2: invalid. What may be refused or understood is understood where the intent is clear.
    ("rfc4475_badinv01", Status(400, "")),
    ("rfc4475_clerr", Status(400, "")),
    ("rfc4475_ncl", Status(400, "")),
    ("rfc4475_scalar02", Status(400, "")),
    ("rfc4475_scalarlg", Dropped),
    ("rfc4475_quotbal", Status(400, "")),
    ("rfc4475_ltgtruri", Status(400, "")),
    ("rfc4475_lwsruri", Status(400, "")),
    ("rfc4475_lwsstart", Status(400, "")),
    ("rfc4475_trws", Status(200, "Accept")),
    ("rfc4475_escruri", Call),
    ("rfc4475_baddate", Call),
    ("rfc4475_regbadct", Status(405, "Allow")),
    ("rfc4475_badaspec", Status(200, "Accept")),
    ("rfc4475_baddn", Status(200, "Accept")),
    ("rfc4475_badvers", Status(505, "")),
    ("rfc4475_mismatch01", Status(400, "")),
    ("rfc4475_mismatch02", Status(400, "")),
    ("rfc4475_bigcode", Dropped),
    // Section 3.2: transactions.
    ("rfc4475_badbranch", Status(200, "Accept")),
    // Section 3.3: what the application has to see.
    ("rfc4475_insuf", Status(400, "")),
    ("rfc4475_unkscm", Status(416, "")),
    ("rfc4475_novelsc", Status(416, "")),
    ("rfc4475_unksm2", Status(405, "Allow")),
    ("rfc4475_bext01", Status(420, "Unsupported")),
    ("rfc4475_invut", Status(415, "Accept")),
    ("rfc4475_regaut01", Status(405, "Allow")),
    ("rfc4475_multi01", Status(400, "")),
    ("rfc4475_mcl01", Status(400, "")),
    ("rfc4475_bcast", Dropped),
    ("rfc4475_zeromf", Status(200, "Accept")),
    ("rfc4475_cparam01", Status(405, "Allow")),
    ("rfc4475_cparam02", Status(405, "Allow")),
    ("rfc4475_regescrt", Status(405, "Allow")),
    ("rfc4475_sdp01", Status(406, "")),
    // Section 3.4: of RFC 2543.
    ("rfc4475_inv2543", Call),
    // RFC 5118 section 4.
    ("rfc5118_ipv6_good", Status(405, "Allow")),
    ("rfc5118_ipv6_bad", Status(400, "")),
    ("rfc5118_port_ambiguous", Status(405, "Allow")),
    ("rfc5118_port_unambiguous", Status(405, "Allow")),
    ("rfc5118_via_received_param_with_delim", Status(481, "")),
    ("rfc5118_via_received_param_no_delim", Status(200, "Accept")),
    ("rfc5118_ipv6_in_sdp", Call),
    ("rfc5118_mult_ip_in_header", Status(481, "")),
    ("rfc5118_mult_ip_in_sdp", Call),
    ("rfc5118_ipv4_mapped_ipv6", Call),
    ("rfc5118_ipv6_bug_abnf_3_colons", Status(200, "Accept")),
    ("rfc5118_ipv6_correct_abnf_2_colons", Status(200, "Accept")),
];

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/message")
}

fn message(name: &str) -> Vec<u8> {
    fs::read(home().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn fed(name: &str) -> Wire {
    let mut wire = Wire::new();
    wire.feed_from(REMOTE.into(), &message(name));
    wire
}

fn fed_on_a_connection(name: &str) -> Wire {
    let mut wire = Wire::new();
    let path = Path {
        transport: Transport::Tcp,
        connection: Some(ConnectionId(1)),
        ..Path::udp(LOCAL.into(), REMOTE.into())
    };
    let data = &message(name);
    wire.endpoint.handle_input(wire.now, Input::Message { path, data });
    wire.drain();
    wire
}

#[test]
fn each_gets_what_its_document_asks() {
    for (name, expected) in MESSAGES {
        let mut wire = fed(name);
        let mut sent = wire.take();
        if sent.is_empty() && matches!(expected, Status(400, _)) {
            // Damaged, and so short that its answer is longer: nothing is sent to a source that may be forged, but on a
            // connection it is.
            wire = fed_on_a_connection(name);
            sent = wire.take();
            assert!(sent.iter().any(|answer| answer.len() > message(name).len()), "{name}");
        }
        let first = sent.first().map(String::as_str).unwrap_or_default();
        match expected {
            Call => {
                assert!(first.starts_with("SIP/2.0 100 "), "{name}: {first}");
                assert!(
                    matches!(wire.events[..], [Event::Incoming(_)]),
                    "{name}: {:?}",
                    wire.events
                );
            }
            Status(status, with) => {
                assert!(first.starts_with(&format!("SIP/2.0 {status} ")), "{name}: {first:?}");
                assert!(
                    with.is_empty() || header(first, with).is_some(),
                    "{name}: no {with} in {first}"
                );
                assert_eq!(wire.events, [], "{name}");
            }
            Dropped => {
                assert_eq!(sent, [""; 0], "{name}");
                let counters = wire.endpoint.counters();
                assert_eq!(counters.stray + counters.malformed, 1, "{name}: {counters:?}");
            }
        }
    }
}

#[test]
fn none_is_left_out() {
    let files = fs::read_dir(home()).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rfc"))
        .collect();
    assert_eq!(files, MESSAGES.iter().map(|(name, _)| (*name).to_owned()).collect());
    let of = |document: &str| files.iter().filter(|name| name.starts_with(document)).count();
    assert_eq!((of("rfc4475"), of("rfc5118")), (49, 12));
}

fn call(name: &str) -> voxlane::sip::Incoming {
    match fed(name).events.pop() {
        Some(Event::Incoming(call)) => *call,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn what_is_in_them_is_understood() {
    let esc01 = call("rfc4475_esc01");
    assert_eq!(esc01.request_uri.user, "sips:user@example.com");
    assert_eq!(
        (esc01.to.user.as_str(), esc01.from.user.as_str()),
        ("user", "I have spaces")
    );
    assert_eq!(call("rfc4475_escruri").request_uri.host, "example.com");
    let long = call("rfc4475_longreq");
    assert_eq!(long.from.user, "amazinglylongcallername".repeat(5));
    assert_eq!(call("rfc5118_ipv6_in_sdp").request_uri.host, "2001:db8::10");
    assert_eq!(call("rfc5118_ipv4_mapped_ipv6").sdp.unwrap().len(), 245);
    // Only the extensions of user agents are told of, not those of proxies.
    let bext01 = fed("rfc4475_bext01").only();
    assert_eq!(
        header(&bext01, "Unsupported"),
        Some("nothingSupportsThis, nothingSupportsThisEither")
    );
    // Nothing of the second request in the datagram.
    assert_eq!(fed("rfc4475_dblreq").take().len(), 1);
    // The branch is the other version's, and stays.
    assert!(fed("rfc4475_badvers").only().contains(";branch=z9hG4bKkdjuw"));
}

#[test]
fn a_caller_of_rfc_2543_is_answered_and_hung_up_on() {
    let mut wire = fed("rfc4475_inv2543");
    let dialog = wire.incoming();
    wire.endpoint.answer(wire.now, dialog, b"v=0\r\n".to_vec());
    let ok = wire.take().pop().unwrap();
    let to = header(&ok, "To").unwrap();
    // Its ACK has neither branch nor From tag, either.
    wire.feed(&format!(
        "ACK sip:192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\n\
         From: <sip:+13035551111@ift.client.example.net;user=phone>\nTo: {to}\n\
         Call-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 ACK\n\n"
    ));
    assert!(
        matches!(wire.events.last(), Some(Event::Confirmed { .. })),
        "{:?}",
        wire.events
    );
    wire.endpoint.hang_up(wire.now, dialog, None);
    let bye = wire.only();
    // The router it was recorded by is a strict one.
    assert!(
        bye.starts_with("BYE sip:UserB@example.com;maddr=ss1.example.com SIP/2.0\r\n"),
        "{bye}"
    );
    assert_eq!(
        header(&bye, "Route"),
        Some("<sip:+13035551111@ift.client.example.net;user=phone>")
    );
}
