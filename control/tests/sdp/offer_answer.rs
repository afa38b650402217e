//! Offer/answer as carriers and phones meet it.

use std::net::SocketAddr;

use voxlane::config::model::{RtcpMux, SdpIdentity, Transcode};
use voxlane::sdp::{Capabilities, Description, Local, SdpError, Security, accept, answer, offer, offer_like};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{Direction, LatchMode, Pacing, RtcpPort, Session, TelephoneEvent};

fn identity() -> SdpIdentity {
    SdpIdentity {
        origin_user: "trusst".into(),
        session_name: "Trusst AI Voice Session".into(),
    }
}

fn local<'a>(identity: &'a SdpIdentity, rtp: &str) -> Local<'a> {
    Local {
        identity,
        session_id: 3724394400,
        version: 7,
        rtp: addr(rtp),
    }
}

fn caps() -> Capabilities {
    Capabilities {
        codecs: Codec::ALL.to_vec(),
        telephone_event: Some(101),
        ptime: 20,
        rtcp_mux: RtcpMux::Accept,
        security: Security::off(),
    }
}

/// The offer of a second leg beside one that has offered `theirs`.
fn offer_beside(
    identity: &SdpIdentity,
    caps: &Capabilities,
    theirs: &Description,
    transcode: Transcode,
) -> Result<(Vec<u8>, Capabilities), SdpError> {
    offer_like(
        &local(identity, "203.0.113.50:10000"),
        caps,
        theirs,
        &Codec::ALL,
        transcode,
    )
}

/// Writes the lines with CRLF.
fn sdp(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// An offer with the given lines from `m=` on.
fn theirs(media: &[&str]) -> Description {
    let mut lines = vec![
        "v=0",
        "o=- 1 1 IN IP4 198.51.100.7",
        "s=-",
        "c=IN IP4 198.51.100.7",
        "t=0 0",
    ];
    lines.extend(media);
    Description::parse(sdp(&lines).as_bytes()).expect("a readable offer")
}

fn answered(offer: &Description) -> (Vec<String>, Session) {
    let identity = identity();
    let (text, session) = answer(offer, &local(&identity, "203.0.113.50:10000"), &caps()).expect("an acceptable offer");
    let text = String::from_utf8(text).expect("SDP in UTF-8");
    let media = text
        .split("\r\n")
        .skip_while(|line| !line.starts_with("m="))
        .filter(|line| !line.is_empty());
    (media.map(str::to_owned).collect(), session)
}

fn refused(offer: &Description) -> SdpError {
    let identity = identity();
    answer(offer, &local(&identity, "203.0.113.50:10000"), &caps()).expect_err("an offer to be refused")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn our_offer_is_the_sample_of_i16() {
    let identity = identity();
    // Those that the sample has; G.722 follows them where the trunk has it.
    let caps = Capabilities {
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ..caps()
    };
    let offer = offer(&local(&identity, "203.0.113.50:10000"), &caps).unwrap();
    assert_eq!(
        String::from_utf8(offer).unwrap(),
        sdp(&[
            "v=0",
            "o=trusst 3724394400 7 IN IP4 203.0.113.50",
            "s=Trusst AI Voice Session",
            "c=IN IP4 203.0.113.50",
            "t=0 0",
            "m=audio 10000 RTP/AVP 0 8 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=ptime:20",
        ])
    );
}

#[test]
fn ipv6_and_no_telephone_event_in_an_offer() {
    let identity = identity();
    let caps = Capabilities {
        codecs: vec![Codec::Pcma],
        telephone_event: None,
        ptime: 30,
        rtcp_mux: RtcpMux::Accept,
        security: Security::off(),
    };
    let offer = offer(&local(&identity, "[2001:db8::50]:10002"), &caps).unwrap();
    assert_eq!(
        String::from_utf8(offer).unwrap(),
        sdp(&[
            "v=0",
            "o=trusst 3724394400 7 IN IP6 2001:db8::50",
            "s=Trusst AI Voice Session",
            "c=IN IP6 2001:db8::50",
            "t=0 0",
            "m=audio 10002 RTP/AVP 8",
            "a=rtpmap:8 PCMA/8000",
            "a=ptime:30",
        ])
    );
}

#[test]
fn an_answer_names_one_codec_under_the_offers_payload_types() {
    let offer = theirs(&[
        "m=audio 4000 RTP/AVP 8 0 18 96",
        "a=rtpmap:18 G729/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
    ]);
    assert_eq!(offer.codecs(), [Codec::Pcma, Codec::Pcmu]);
    let (media, session) = answered(&offer);
    assert_eq!(
        media,
        [
            "m=audio 10000 RTP/AVP 0 96",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:96 telephone-event/8000",
            "a=fmtp:96 0-16",
            "a=ptime:20"
        ]
    );
    assert_eq!(
        session,
        Session {
            remote_rtp: addr("198.51.100.7:4000"),
            remote_rtcp: addr("198.51.100.7:4001"),
            rtcp_port: RtcpPort::Own,
            codec: Codec::Pcmu,
            send_payload_type: 0,
            receive_payload_type: 0,
            telephone_event: Some(TelephoneEvent { send: 96, receive: 96 }),
            ptime: 20,
            direction: Direction::SendRecv,
            latch: LatchMode::Nat,
            pacing: Pacing::Off,
            srtp: None,
        }
    );
}

#[test]
fn our_order_of_preference_picks_the_codec() {
    let identity = identity();
    let caps = Capabilities {
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        ..caps()
    };
    let offer = theirs(&["m=audio 4000 RTP/AVP 0 8"]);
    let (_, session) = answer(&offer, &local(&identity, "203.0.113.50:10000"), &caps).unwrap();
    assert_eq!(session.codec, Codec::Pcma);
}

#[test]
fn a_dynamic_payload_type_for_g711_is_kept() {
    let offer = theirs(&[
        "m=audio 4000 RTP/AVP 97 98",
        "a=rtpmap:97 pcma/8000/1",
        "a=rtpmap:98 PCMU/16000",
    ]);
    let (media, session) = answered(&offer);
    assert_eq!(media[..2], ["m=audio 10000 RTP/AVP 97", "a=rtpmap:97 PCMA/8000"]);
    assert_eq!(
        (session.codec, session.send_payload_type, session.telephone_event),
        (Codec::Pcma, 97, None)
    );
}

#[test]
fn telephone_event_is_taken_at_the_codecs_clock_rate() {
    let offer = theirs(&[
        "m=audio 4000 RTP/AVP 0 100 101",
        "a=rtpmap:100 telephone-event/48000",
        "a=rtpmap:101 telephone-event/8000",
    ]);
    assert_eq!(
        answered(&offer).1.telephone_event,
        Some(TelephoneEvent {
            send: 101,
            receive: 101
        })
    );
}

#[test]
fn packet_time_follows_the_offer_within_what_we_can() {
    for (lines, expected) in [
        (&["a=ptime:30"][..], 30),
        (&["a=ptime:20.0"], 20),
        (&["a=ptime:25"], 20),
        (&["a=ptime:200"], 20),
        (&["a=ptime:0"], 20),
        (&["a=ptime:junk"], 20),
        (&["a=ptime:40", "a=maxptime:35"], 30),
        (&["a=maxptime:10"], 10),
        (&["a=maxptime:5"], 10),
        (&["a=maxptime:150"], 20),
    ] {
        let mut media = vec!["m=audio 4000 RTP/AVP 0"];
        media.extend(lines);
        let (answer, session) = answered(&theirs(&media));
        assert_eq!(session.ptime, expected, "{lines:?}");
        assert_eq!(answer.last().unwrap(), &format!("a=ptime:{expected}"), "{lines:?}");
    }
}

#[test]
fn addresses_come_from_the_stream_before_the_session_and_rtcp_from_rfc_3605() {
    for (lines, rtp, rtcp) in [
        (&["c=IN IP4 192.0.2.9"][..], "192.0.2.9:4000", "192.0.2.9:4001"),
        (&["a=rtcp:5001"], "198.51.100.7:4000", "198.51.100.7:5001"),
        (
            &["a=rtcp:5001 IN IP4 192.0.2.10"],
            "198.51.100.7:4000",
            "192.0.2.10:5001",
        ),
        (&["a=rtcp:junk"], "198.51.100.7:4000", "198.51.100.7:4001"),
    ] {
        let mut media = vec!["m=audio 4000 RTP/AVP 0"];
        media.extend(lines);
        let (_, session) = answered(&theirs(&media));
        assert_eq!(
            (session.remote_rtp, session.remote_rtcp),
            (addr(rtp), addr(rtcp)),
            "{lines:?}"
        );
    }
}

#[test]
fn hold_is_mirrored() {
    for (lines, line, direction) in [
        (&["a=sendonly"][..], Some("a=recvonly"), Direction::RecvOnly),
        (&["a=recvonly"], Some("a=sendonly"), Direction::SendOnly),
        (&["a=inactive"], Some("a=inactive"), Direction::Inactive),
        (&["a=sendrecv"], None, Direction::SendRecv),
        (&["c=IN IP4 0.0.0.0"], Some("a=recvonly"), Direction::RecvOnly),
        (
            &["c=IN IP4 0.0.0.0", "a=inactive"],
            Some("a=inactive"),
            Direction::Inactive,
        ),
    ] {
        let mut media = vec!["m=audio 4000 RTP/AVP 0"];
        media.extend(lines);
        let (answer, session) = answered(&theirs(&media));
        assert_eq!(session.direction, direction, "{lines:?}");
        let written: Vec<&str> = answer
            .iter()
            .map(String::as_str)
            .skip_while(|line| *line != "a=ptime:20")
            .collect();
        assert_eq!(written[1..], line.into_iter().collect::<Vec<_>>(), "{lines:?}");
    }
}

#[test]
fn a_direction_for_the_whole_session_counts() {
    let text = sdp(&[
        "v=0",
        "o=- 1 1 IN IP4 198.51.100.7",
        "s=-",
        "c=IN IP4 198.51.100.7",
        "t=0 0",
        "a=sendonly",
        "m=audio 4000 RTP/AVP 0",
    ]);
    assert_eq!(
        answered(&Description::parse(text.as_bytes()).unwrap()).1.direction,
        Direction::RecvOnly
    );
}

#[test]
fn other_streams_are_refused_in_place() {
    let offer = theirs(&[
        "m=video 5000 RTP/AVP 31 32",
        "a=rtpmap:31 H261/90000",
        "m=audio 4100 RTP/SAVP 0",
        "m=audio 4000 RTP/AVP 0",
        "m=audio 4200 RTP/AVP 0",
        "m=image 6000 udptl t38",
    ]);
    let (media, session) = answered(&offer);
    assert_eq!(
        media,
        [
            "m=video 0 RTP/AVP 31 32",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 10000 RTP/AVP 0",
            "a=rtpmap:0 PCMU/8000",
            "a=ptime:20",
            "m=audio 0 RTP/AVP 0",
            "m=image 0 udptl t38",
        ]
    );
    assert_eq!(session.remote_rtp, addr("198.51.100.7:4000"));
}

#[test]
fn what_we_cannot_do_is_not_acceptable() {
    for (media, expected) in [
        (
            &["m=audio 4000 RTP/SAVP 0"][..],
            "SRTP is offered (RTP/SAVP), and srtp = \"off\" on this trunk",
        ),
        (
            &["m=audio 4000 UDP/TLS/RTP/SAVPF 0"],
            "no stream is audio over RTP/AVP or RTP/SAVP with a port (its streams: audio 4000 UDP/TLS/RTP/SAVPF)",
        ),
        (
            &["m=video 4000 RTP/AVP 31"],
            "no stream is audio over RTP/AVP or RTP/SAVP with a port (its streams: video 4000 RTP/AVP)",
        ),
        (
            &["m=audio 0 RTP/AVP 0"],
            "no stream is audio over RTP/AVP or RTP/SAVP with a port (its streams: audio 0 RTP/AVP)",
        ),
        (
            &[],
            "no stream is audio over RTP/AVP or RTP/SAVP with a port (its streams: none)",
        ),
        (
            &["m=audio 4000 RTP/AVP 18 3"],
            "no common codec (theirs: payload types 18 3; ours: PCMU, PCMA, G722)",
        ),
        (
            &["m=audio 4000 RTP/AVP 0", "a=rtpmap:0 OTHER/8000"],
            "no common codec (theirs: payload types 0; ours: PCMU, PCMA, G722)",
        ),
    ] {
        assert_eq!(
            refused(&theirs(media)),
            SdpError::NothingAcceptable(expected.into()),
            "{media:?}"
        );
    }
}

#[test]
fn the_other_ip_version_is_refused() {
    let offer = theirs(&["m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::7"]);
    assert!(matches!(refused(&offer), SdpError::AddressFamily { .. }));
}

#[test]
fn ipv6_is_answered_in_kind() {
    let offer = theirs(&["m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::7"]);
    let identity = identity();
    let (text, session) = answer(&offer, &local(&identity, "[2001:db8::50]:10000"), &caps()).unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("\r\nc=IN IP6 2001:db8::50\r\n")
    );
    assert_eq!(session.remote_rtcp, addr("[2001:db8::7]:4001"));
}

#[test]
fn careless_text_is_read() {
    let text =
        b"v=0\no=\xff broken\ns=caf\xe9\nc=IN  IP4 198.51.100.7 \nb=nonsense\nt=\nm=audio  4000 RTP/AVP 0  101\n\
                 a=rtpmap:101  telephone-event/8000\r\na=ptime: 20\nzzz\n\0\0\0";
    let audio = Description::parse(text).unwrap().audio().unwrap().clone();
    assert_eq!(audio.rtp, addr("198.51.100.7:4000"));
    assert_eq!(audio.telephone_event(8000), Some(101));
    assert_eq!(audio.ptime, Some(20));
}

#[test]
fn unreadable_text_says_what_is_wrong() {
    let error = |text: &str| Description::parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error(""), "SDP cannot be read: No version line");
    assert_eq!(
        error("v=0\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nm=audio x RTP/AVP 0\r\n"),
        "SDP cannot be read: Invalid field formatting in line 4 at Media port"
    );
    assert_eq!(
        error("v=0\r\nm=audio 4000 RTP/AVP 0\r\n"),
        "SDP has no c= line for its audio stream"
    );
    assert_eq!(
        error("v=0\r\nc=IN IP4 media.example\r\nm=audio 4000 RTP/AVP 0\r\n"),
        "SDP address \"media.example\" is not a unicast IP address (host names in c= and a=rtcp are not resolved)"
    );
    assert_eq!(
        error("v=0\r\nc=IN IP4 224.2.1.1/127\r\nm=audio 4000 RTP/AVP 0\r\n"),
        "SDP address \"224.2.1.1/127\" is not a unicast IP address (host names in c= and a=rtcp are not resolved)"
    );
}

#[test]
fn the_answer_to_our_offer_is_taken_at_its_first_codec() {
    let answer = theirs(&[
        "m=audio 4000 RTP/AVP 18 8 0 96",
        "a=rtpmap:96 telephone-event/8000",
        "a=ptime:30",
        "a=recvonly",
    ]);
    assert_eq!(
        accept(&caps(), &answer).unwrap(),
        Session {
            remote_rtp: addr("198.51.100.7:4000"),
            remote_rtcp: addr("198.51.100.7:4001"),
            rtcp_port: RtcpPort::Own,
            codec: Codec::Pcma,
            send_payload_type: 8,
            receive_payload_type: 8,
            telephone_event: Some(TelephoneEvent { send: 96, receive: 101 }),
            ptime: 30,
            direction: Direction::SendOnly,
            latch: LatchMode::Nat,
            pacing: Pacing::Off,
            srtp: None,
        }
    );
}

#[test]
fn an_answer_of_what_was_not_offered_is_not_accepted() {
    let caps = Capabilities {
        codecs: vec![Codec::Pcmu],
        telephone_event: None,
        ptime: 20,
        rtcp_mux: RtcpMux::Accept,
        security: Security::off(),
    };
    let answer = theirs(&["m=audio 4000 RTP/AVP 8"]);
    assert!(matches!(accept(&caps, &answer), Err(SdpError::NothingAcceptable(_))));
    let refused = theirs(&["m=audio 0 RTP/AVP 0"]);
    assert!(matches!(accept(&caps, &refused), Err(SdpError::NothingAcceptable(_))));
}

#[test]
fn the_second_legs_offer_begins_with_what_needs_no_rewriting() {
    let identity = identity();
    let theirs = theirs(&[
        "m=audio 4000 RTP/AVP 18 8 96",
        "a=rtpmap:96 telephone-event/8000",
        "a=ptime:30",
        "a=sendonly",
    ]);
    let (text, sent) = offer_beside(&identity, &caps(), &theirs, Transcode::Auto).unwrap();
    let text = String::from_utf8(text).unwrap();
    let media: Vec<&str> = text.lines().skip(5).collect();
    assert_eq!(
        media,
        [
            "m=audio 10000 RTP/AVP 8 0 9 96",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:9 G722/8000",
            "a=rtpmap:96 telephone-event/8000",
            "a=fmtp:96 0-16",
            "a=ptime:30",
            "a=sendonly",
        ]
    );
    assert_eq!(
        sent,
        Capabilities {
            codecs: vec![Codec::Pcma, Codec::Pcmu, Codec::G722],
            telephone_event: Some(96),
            ptime: 30,
            rtcp_mux: RtcpMux::Accept,
            security: Security::off(),
        }
    );
}

#[test]
fn rtcp_mux_is_answered_where_it_is_offered_and_allowed() {
    let identity = identity();
    for (offered, rtcp_mux, shared) in [
        (true, RtcpMux::Accept, true),
        (true, RtcpMux::Offer, true),
        (true, RtcpMux::Off, false),
        (false, RtcpMux::Accept, false),
        (false, RtcpMux::Offer, false),
    ] {
        // RFC 5761 section 5.1.1: a port for RTCP is offered as well, for those that know no rtcp-mux.
        let mut media = vec!["m=audio 4000 RTP/AVP 0", "a=rtcp:4077", "a=sendonly"];
        media.extend(offered.then_some("a=rtcp-mux"));
        let caps = Capabilities { rtcp_mux, ..caps() };
        let (text, session) = answer(&theirs(&media), &local(&identity, "203.0.113.50:10000"), &caps).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (rtcp, port) = match shared {
            true => ("198.51.100.7:4000", RtcpPort::Shared),
            false => ("198.51.100.7:4077", RtcpPort::Own),
        };
        assert_eq!(
            (session.remote_rtcp, session.rtcp_port),
            (addr(rtcp), port),
            "{offered} {rtcp_mux:?}"
        );
        assert_eq!(text.ends_with("\r\na=recvonly\r\na=rtcp-mux\r\n"), shared, "{text}");
        assert_eq!(text.contains("rtcp-mux"), shared, "{text}");
    }
}

#[test]
fn rtcp_mux_is_offered_only_where_the_trunk_says_so_and_needs_a_yes() {
    let identity = identity();
    let local = local(&identity, "203.0.113.50:10000");
    for (rtcp_mux, answered, shared) in [
        (RtcpMux::Offer, true, true),
        (RtcpMux::Offer, false, false),
        // An answer may not bring up what was not offered.
        (RtcpMux::Accept, true, false),
        (RtcpMux::Off, true, false),
    ] {
        let caps = Capabilities { rtcp_mux, ..caps() };
        let text = String::from_utf8(offer(&local, &caps).unwrap()).unwrap();
        assert_eq!(
            text.ends_with("\r\na=rtcp-mux\r\n"),
            rtcp_mux == RtcpMux::Offer,
            "{text}"
        );
        let mut media = vec!["m=audio 4000 RTP/AVP 0"];
        media.extend(answered.then_some("a=rtcp-mux"));
        let session = accept(&caps, &theirs(&media)).unwrap();
        let (rtcp, port) = match shared {
            true => ("198.51.100.7:4000", RtcpPort::Shared),
            false => ("198.51.100.7:4001", RtcpPort::Own),
        };
        assert_eq!(
            (session.remote_rtcp, session.rtcp_port),
            (addr(rtcp), port),
            "{rtcp_mux:?} {answered}"
        );
    }
}

#[test]
fn where_nothing_is_transcoded_the_second_leg_is_offered_what_both_have() {
    let identity = identity();
    let wide = theirs(&["m=audio 4000 RTP/AVP 9 0"]);
    let (_, sent) = offer_beside(&identity, &caps(), &wide, Transcode::Off).unwrap();
    assert_eq!(sent.codecs, [Codec::Pcmu, Codec::G722]);
    let narrow = Capabilities {
        codecs: vec![Codec::Pcma],
        ..caps()
    };
    let refused = offer_beside(&identity, &narrow, &wide, Transcode::Off);
    assert!(matches!(refused, Err(SdpError::NothingAcceptable(_))), "{refused:?}");
    let (_, sent) = offer_beside(&identity, &narrow, &wide, Transcode::Auto).unwrap();
    assert_eq!(sent.codecs, [Codec::Pcma]);
}

#[test]
fn a_caller_who_cannot_be_answered_is_found_out_before_the_callee_is_called() {
    let identity = identity();
    let theirs = theirs(&["m=audio 4000 RTP/AVP 0"]);
    let local = local(&identity, "203.0.113.50:10000");
    let refused = offer_like(&local, &caps(), &theirs, &[Codec::Pcma], Transcode::Auto);
    assert!(matches!(refused, Err(SdpError::NothingAcceptable(_))), "{refused:?}");
}

#[test]
fn g722_has_the_clock_of_8_khz_that_the_rfc_gives_it() {
    let (lines, session) = answered(&theirs(&["m=audio 4000 RTP/AVP 9 101", "a=rtpmap:9 G722/8000"]));
    assert!(lines.iter().any(|line| line == "a=rtpmap:9 G722/8000"), "{lines:?}");
    assert_eq!((session.codec, session.send_payload_type), (Codec::G722, 9));
    // Named by its number alone, and by another number.
    assert_eq!(answered(&theirs(&["m=audio 4000 RTP/AVP 9"])).1.codec, Codec::G722);
    let dynamic = theirs(&["m=audio 4000 RTP/AVP 110", "a=rtpmap:110 G722/8000"]);
    let (_, session) = answered(&dynamic);
    assert_eq!((session.codec, session.send_payload_type), (Codec::G722, 110));
}

#[test]
fn what_leg_a_offers_of_rtcp_mux_is_not_passed_on_to_leg_b() {
    let identity = identity();
    let theirs = theirs(&["m=audio 4000 RTP/AVP 0", "a=rtcp-mux"]);
    let (text, sent) = offer_beside(&identity, &caps(), &theirs, Transcode::Auto).unwrap();
    assert!(!String::from_utf8(text).unwrap().contains("rtcp-mux"));
    assert_eq!(sent.rtcp_mux, RtcpMux::Accept);
}

#[test]
fn ipv6_goes_in_and_out() {
    let identity = identity();
    let text = sdp(&[
        "v=0",
        "o=- 1 1 IN IP6 2001:db8::7",
        "s=-",
        "c=IN IP6 2001:db8::7",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0",
        "a=rtcp:4077 IN IP6 2001:db8::8",
    ]);
    let offer = Description::parse(text.as_bytes()).unwrap();
    let (text, session) = answer(&offer, &local(&identity, "[2001:db8::50]:10000"), &caps()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("\r\no=trusst 3724394400 7 IN IP6 2001:db8::50\r\n")
            && text.contains("c=IN IP6 2001:db8::50\r\n"),
        "{text}"
    );
    assert_eq!(session.remote_rtp, addr("[2001:db8::7]:4000"));
    assert_eq!(session.remote_rtcp, addr("[2001:db8::8]:4077"));
    // An answer to us, of a stream with an address of its own, on hold the old way.
    let answer = theirs(&["m=audio 4000 RTP/AVP 0", "c=IN IP6 ::"]);
    let session = accept(&caps(), &answer).unwrap();
    assert_eq!(
        (session.remote_rtp, session.direction),
        (addr("[::]:4000"), Direction::RecvOnly)
    );
}
