//! Damaged and unusual messages: those of RFC 4475 that concern an endpoint, and mutations of sound ones.

use crate::support::wire::{REMOTE, Wire, header, request};
use proptest::prelude::*;
use voxlane::sip::Event;

/// RFC 4475 section 3.1.1.1: white space and folds everywhere, compact names, an empty Via branch continuation.
const WSINV: &str = "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 4
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

v=0
";

#[test]
fn wsinv() {
    let mut wire = Wire::new();
    wire.feed(WSINV);
    // It has a To tag, of a dialog we do not know; it was understood whole.
    let answer = wire.only();
    assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
    let vias: Vec<&str> = answer.lines().filter(|line| line.starts_with("Via: ")).collect();
    assert_eq!(vias.len(), 3, "{answer}");
    assert_eq!(vias[0], "Via: SIP/2.0/UDP 192.0.2.2;branch=390skdjuw");
    assert_eq!(header(&answer, "CSeq"), Some("0009 INVITE"));

    let mut wire = Wire::new();
    wire.feed(&WSINV.replace(" ;   tag    = 1918181833n", ""));
    let Some(Event::Incoming(call)) = wire.events.last() else {
        panic!("{:?}", wire.events)
    };
    assert_eq!(call.from.display, "J Rosenberg \\\"");
    assert_eq!(call.request_uri.host, "chair-dnrc.example.com");
    assert_eq!(call.sdp.as_deref(), Some(&b"v=0\r"[..]));
}

/// A request whose parts are replaced, and what it is answered.
fn answered(text: &str) -> Option<u16> {
    let mut wire = Wire::new();
    wire.feed(text);
    let first = wire.take().into_iter().next()?;
    first.split(' ').nth(1)?.parse().ok()
}

#[test]
fn unusual_and_sound() {
    let options = request("OPTIONS", "o", 1, "", "User-Agent: somebody's, of usual length\n");
    let replaced = |from: &str, to: &str| {
        assert!(options.contains(from), "{from}");
        options.replacen(from, to, 1)
    };
    let uri = "sip:+15550100@192.0.2.1 SIP/2.0";
    let to = "To: <sip:+15550100@192.0.2.1>";
    let via = "Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKo";
    let long = "x".repeat(1000);
    for (name, text, status) in [
        (
            "semiuri",
            replaced(uri, "sip:user;par=u%40example.net@example.com SIP/2.0"),
            200,
        ),
        (
            "esc01",
            replaced(uri, "sip:sips%3Auser%40example.com@example.net SIP/2.0"),
            200,
        ),
        ("escnull", replaced(to, "To: sip:null-%00-null@example.com"), 200),
        ("lwsdisp", replaced("From: <", "From: caller<"), 200),
        ("zeromf", replaced("Max-Forwards: 70", "Max-Forwards: 0"), 200),
        ("no Max-Forwards", replaced("Max-Forwards: 70\n", ""), 200),
        (
            "transports",
            replaced(
                via,
                &format!("{via}\nVia: SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKkdjuw"),
            ),
            200,
        ),
        ("unksm2", replaced(to, "To: isbn:2983792873"), 200),
        ("tel", replaced(uri, "tel:+15550100 SIP/2.0"), 200),
        ("IPv6", replaced(uri, "sip:x@[2001:db8::1]:5060 SIP/2.0"), 200),
        (
            "intmeth",
            replaced("From: <", "From: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <"),
            200,
        ),
        (
            "longreq",
            replaced(
                "Max-Forwards: 70\n",
                &format!("Max-Forwards: 70\nUnknown-{long}: {long}\n"),
            ),
            200,
        ),
        (
            "baddate",
            replaced(
                "Max-Forwards: 70\n",
                "Max-Forwards: 70\nDate: Fri, 01 Jan 2010 16:00:00 EST\n",
            ),
            200,
        ),
        ("esc02", options.replace("OPTIONS", "RE%47IST%45R"), 501),
        (
            "dblreq",
            format!("{}INVITE sip:x SIP/2.0\n", replaced("Max-Forwards: 70\n", "l: 0\n")),
            200,
        ),
        (
            "unkscm",
            replaced(uri, "nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
            416,
        ),
        ("novelsc", replaced(uri, "soap.beep://192.0.2.103:3002 SIP/2.0"), 416),
        ("badvers", replaced(uri, "sip:+15550100@192.0.2.1 SIP/7.0"), 505),
        ("ltgtruri", replaced(uri, "<sip:user@example.com> SIP/2.0"), 400),
        ("lwsruri", replaced(uri, "sip:user@example.com; lr SIP/2.0"), 400),
        (
            "badinv01",
            replaced("From: <sip:caller@192.0.2.2>;tag=them", "From: <sip:a@b>;;,;,,;tag=1"),
            400,
        ),
        (
            "ncl",
            replaced(
                "Max-Forwards: 70\n",
                "Content-Length: -999\nX: this makes it long enough\n",
            ),
            400,
        ),
        (
            "clerr",
            replaced(
                "Max-Forwards: 70\n",
                "Content-Length: 9999\nX: this makes it long enough\n",
            ),
            400,
        ),
        ("scalar02", replaced("CSeq: 1 ", "CSeq: 36893488147419103232 "), 400),
        ("mismatch01", replaced("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), 400),
        ("mismatch02", replaced("CSeq: 1 OPTIONS", "CSeq: 1 NEWMETHOD"), 400),
        ("quotbal", replaced("To: <", "To: \"Mr. J. User <"), 400),
    ] {
        assert_eq!(answered(&text), Some(status), "{name}");
    }
}

#[test]
fn damaged_responses_are_dropped() {
    let text =
        request("OPTIONS", "o", 1, "", "").replacen("OPTIONS sip:+15550100@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", 1);
    for (name, text) in [
        (
            "bigcode",
            text.replacen("200 OK", "4294967301 better not break the receiver", 1),
        ),
        ("bcast", text.replacen("192.0.2.2;branch", "255.255.255.255;branch", 1)),
        (
            "scalarlg",
            text.replacen("CSeq: 1 ", "CSeq: 9292394834772304023312 ", 1),
        ),
    ] {
        let mut wire = Wire::new();
        wire.feed(&text);
        assert!(wire.take().is_empty(), "{name}");
        let counters = wire.endpoint.counters();
        assert_eq!(counters.stray + counters.malformed, 1, "{name}");
    }
}

#[test]
fn too_many_of_anything_is_refused() {
    let lines = "X: y\n".repeat(300);
    assert_eq!(answered(&request("OPTIONS", "o", 1, "", &lines)), Some(400));
    let vias = "Via: SIP/2.0/UDP a\n".repeat(100);
    assert_eq!(answered(&request("OPTIONS", "o", 1, "", &vias)), Some(400));
    let routes = format!("Record-Route: {}<sip:z>\n", "<sip:a>,".repeat(100));
    assert_eq!(answered(&request("INVITE", "i", 1, "", &routes)), Some(400));
}

/// Sound messages of every kind, to be damaged.
fn seeds() -> Vec<String> {
    let mut seeds: Vec<String> = ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REFER", "FROB"]
        .iter()
        .map(|method| {
            request(
                method,
                "i1",
                1,
                "",
                "Record-Route: <sip:192.0.2.9;lr>\nReason: SIP;cause=200\n",
            )
        })
        .collect();
    seeds.push(WSINV.to_owned());
    seeds.push(request(
        "INVITE",
        "i2",
        2,
        "",
        "c: application/sdp\nl: 5\nP-Asserted-Identity: \"A\" <tel:+1>, <sip:b>\n\nv=0\n",
    ));
    seeds.push(seeds[4].replacen("OPTIONS sip:+15550100@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", 1));
    seeds
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let pieces = prop::sample::select(vec![
        &b"\r\n"[..],
        b"\n",
        b"\r",
        b"\r\n ",
        b":",
        b";",
        b",",
        b"\"",
        b"<",
        b">",
        b"\\",
        b"[",
        b"]",
        b"@",
        b"%",
        b"%zz",
        b"=",
        b"/",
        b"\0",
        b"\xff\xfe",
        "é".as_bytes(),
        b"Content-Length: 99999999999999999999\r\n",
        b";tag=",
        b"sip:",
        b"4294967296",
        b"SIP/2.0",
    ]);
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (index(), pieces).prop_map(|(at, piece)| Mutation::Insert(at, piece.to_vec())),
        (index(), 1..40usize).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (index(), 1..200usize).prop_map(|(at, len)| Mutation::Repeat(at, len)),
        index().prop_map(Mutation::Cut),
    ]
}

fn mutate(data: &mut Vec<u8>, mutation: &Mutation) {
    if data.is_empty() {
        return;
    }
    match mutation {
        Mutation::Set(at, byte) => {
            let at = at.index(data.len());
            data[at] = *byte;
        }
        Mutation::Insert(at, piece) => {
            let at = at.index(data.len());
            data.splice(at..at, piece.iter().copied());
        }
        Mutation::Remove(at, len) => {
            let at = at.index(data.len());
            data.drain(at..(at + len).min(data.len()));
        }
        Mutation::Repeat(at, len) => {
            let at = at.index(data.len());
            let piece = data[at..(at + len).min(data.len())].to_vec();
            data.splice(at..at, piece);
        }
        Mutation::Cut(at) => data.truncate(at.index(data.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_nothing_stays(
        picks in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(mutation(), 0..6)), 1..6)
    ) {
        let seeds = seeds();
        let mut wire = Wire::new();
        for (seed, mutations) in &picks {
            let mut data = seed.get(&seeds).replace('\n', "\r\n").into_bytes();
            for mutation in mutations {
                mutate(&mut data, mutation);
            }
            let before = wire.endpoint.counters();
            wire.feed_from(REMOTE.into(), &data);
            let after = wire.endpoint.counters();
            if after.bad_requests > before.bad_requests {
                let answer = wire.sent.last().unwrap();
                // One of another version is a sound one.
                let sound = answer.data.starts_with(b"SIP/2.0 505");
                prop_assert!(sound || answer.data.len() <= data.len(), "an answer longer than the damaged request");
            }
            let messages = |c: &voxlane::sip::Counters| c.requests + c.responses + c.malformed + c.bad_requests;
            prop_assert!(messages(&after) <= messages(&before) + 1);
            // Whatever leaves is text whose every header is on a line of its own, and ends once.
            for text in wire.take() {
                let head = text.split_once("\r\n\r\n").unwrap().0;
                prop_assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
            }
        }
        for event in std::mem::take(&mut wire.events) {
            if let Event::Incoming(call) = event {
                wire.endpoint.hang_up(wire.now, call.dialog, None);
            }
        }
        wire.run(std::time::Duration::from_secs(200));
        let counters = wire.endpoint.counters();
        prop_assert_eq!((counters.dialogs, counters.transactions), (0, 0));
    }

    #[test]
    fn any_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut wire = Wire::new();
        wire.feed_from(REMOTE.into(), &data);
        prop_assert!(wire.sent.is_empty());
    }

    #[test]
    fn any_text_may_be_an_address(text in "\\PC{0,60}") {
        let _ = voxlane::sip::parse_uri(&text);
        let _ = voxlane::sip::parse_uri(&format!("sip:{text}"));
    }
}
