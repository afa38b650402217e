//! Digest authentication of whole calls, in both roles: what goes over the wire and what is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::wire::{Wire, header, request};
use crate::support::{Network, Pair, address, outgoing};
use voxlane::sip::digest::{Algorithm, Auth, Credentials, Entrance, Login, Logins, NonceKey, Proof, Secret};
use voxlane::sip::{AuthFailures, Endpoint, Event, Failure, Termination};

fn login(username: &str, password: &str) -> Login {
    Login {
        username: username.into(),
        realm: None,
        proof: Proof::Password(Secret::new(password.into()), Algorithm::ALL.to_vec()),
    }
}

fn entrance(trunk: &str, auth: Auth, networks: &[&str], login: Option<Login>) -> Entrance {
    Entrance {
        trunk: trunk.into(),
        networks: networks
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect(),
        auth,
        login,
    }
}

/// A pair of which the first calls with this password, and the second asks for "right".
fn pair(seed: u64, network: Network, password: &str) -> Pair {
    let mut pair = Pair::new(seed, network);
    let caller = std::mem::replace(&mut pair.ends[0], crate::support::endpoint(0));
    let logins = Logins::from([("t".to_owned(), login("ann", password))]);
    pair.ends[0] = caller.with_trunks(NonceKey::new([1; 32]), Vec::new(), logins);
    pair.ends[1] = asking(&mut pair, [2; 32]);
    pair
}

/// The second end of a pair, asking for a password with nonces of this key.
fn asking(pair: &mut Pair, key: [u8; 32]) -> Endpoint {
    let callee = std::mem::replace(&mut pair.ends[1], crate::support::endpoint(0));
    let entrances = vec![entrance("in", Auth::Digest, &[], Some(login("ann", "right")))];
    callee.with_trunks(NonceKey::new(key), entrances, Logins::new())
}

fn call(pair: &mut Pair) -> voxlane::sip::DialogId {
    let mut call = outgoing(0);
    call.trunk = Some("t".into());
    // As long as INVITEs are.
    call.headers = vec![("X-Padding".into(), "x".repeat(400))];
    pair.ends[0].invite(pair.now, call)
}

/// Runs a call from its INVITE to its BYE, and gives its messages' first lines, repetitions and all.
fn whole_call(pair: &mut Pair) -> Vec<String> {
    let from = pair.log.len();
    let caller = call(pair);
    let Event::Incoming(incoming) = pair.event(1) else {
        panic!("a call was expected")
    };
    assert_eq!(incoming.trunk.as_deref(), Some("in"));
    pair.ends[1].answer(pair.now, incoming.dialog, b"v=0\r\n".to_vec());
    assert!(matches!(pair.event(0), Event::Answered { .. }));
    assert!(matches!(pair.event(1), Event::Confirmed { .. }));
    pair.ends[0].hang_up(pair.now, caller, None);
    assert!(matches!(pair.event(1), Event::Bye { .. }));
    let ended = Event::Terminated {
        dialog: caller,
        cause: Termination::ByeAnswered,
    };
    assert_eq!(pair.event(0), ended);
    pair.settle();
    let first_line = |(_, _, text): &(_, _, String)| text.lines().next().unwrap_or("").to_owned();
    pair.log[from..].iter().map(first_line).collect()
}

/// The INVITEs of the log, and the credentials of each.
fn invites(pair: &Pair) -> Vec<(String, Option<Credentials>)> {
    let sent = pair.log.iter().filter(|(_, side, _)| *side == 0);
    let invites = sent.filter(|(_, _, text)| text.starts_with("INVITE"));
    invites
        .map(|(_, _, text)| {
            let credentials =
                header(text, "Authorization").map(|value| Credentials::parse(value).expect("credentials"));
            (text.clone(), credentials)
        })
        .collect()
}

fn failures(endpoint: &Endpoint) -> Vec<(String, String, String, u64)> {
    let rows = endpoint.auth_failures().into_iter();
    let rows = rows.map(
        |AuthFailures {
             whose,
             trunk,
             reason,
             count,
         }| (whose, trunk, reason, count),
    );
    rows.collect()
}

#[test]
fn a_challenged_call_is_repeated_with_credentials_and_the_next_brings_them_at_once() {
    let mut pair = pair(1, Network::PERFECT, "right");
    let lines = whole_call(&mut pair);
    let expected = [
        "INVITE sip:+15550100@192.0.2.2:5060 SIP/2.0",
        "SIP/2.0 401 Unauthorized",
        "ACK sip:+15550100@192.0.2.2:5060 SIP/2.0",
        "INVITE sip:+15550100@192.0.2.2:5060 SIP/2.0",
        "SIP/2.0 100 Trying",
        "SIP/2.0 200 OK",
    ];
    assert_eq!(lines[..6], expected);
    let sent = invites(&pair);
    let [(first, None), (second, Some(credentials))] = sent.as_slice() else {
        panic!("{sent:#?}")
    };
    // RFC 3261 section 22.2: the same call, a new transaction.
    for name in ["Call-ID", "From", "To", "Contact", "Content-Type"] {
        assert_eq!(header(first, name), header(second, name), "{name}");
    }
    assert_ne!(header(first, "Via"), header(second, "Via"));
    let cseq = |text| {
        header(text, "CSeq")
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(cseq(first) + 1, cseq(second));
    assert!(second.ends_with("\r\n\r\nv=0\r\n"));
    assert_eq!(credentials.algorithm, Algorithm::Sha512_256);
    assert_eq!(
        (credentials.realm.as_str(), credentials.count()),
        ("192.0.2.2", Some(1))
    );
    assert_eq!(credentials.uri, "sip:+15550100@192.0.2.2:5060");

    // The BYE has the count 2.
    let lines = whole_call(&mut pair);
    assert!(!lines.iter().any(|line| line.contains("401")), "{lines:#?}");
    let sent = invites(&pair);
    assert_eq!(sent.len(), 3);
    let third = sent[2].1.as_ref().unwrap();
    assert_eq!(
        (third.nonce.as_str(), third.count()),
        (credentials.nonce.as_str(), Some(3))
    );
    pair.assert_empty("two calls");
    assert_eq!(failures(&pair.ends[0]), []);
    assert_eq!(failures(&pair.ends[1]), []);
    assert_eq!(pair.ends[1].counters().challenged, 1);
}

#[test]
fn calls_are_authenticated_through_a_bad_network() {
    for seed in 0..200 {
        let network = Network {
            loss: 0.2,
            duplication: 0.2,
            delay: (1, 900),
        };
        let mut pair = pair(seed, network, "right");
        whole_call(&mut pair);
        whole_call(&mut pair);
        pair.assert_empty(&format!("seed {seed}"));
    }
}

#[test]
fn a_wrong_password_is_shown_once_and_the_error_says_so() {
    let mut pair = pair(1, Network::PERFECT, "wrong");
    for round in 1..=2_u64 {
        let dialog = call(&mut pair);
        let failed = Event::Failed {
            dialog,
            status: 401,
            reason: "authentication failed: wrong username or password".into(),
            failure: Failure::refused(),
        };
        assert_eq!(pair.event(0), failed);
        pair.settle();
        // Without credentials, and once with: what was refused is not shown before it is asked for again.
        assert_eq!(invites(&pair).len() as u64, 2 * round);
        let theirs = ("theirs".to_owned(), "in".to_owned(), "wrong_password".to_owned(), round);
        assert_eq!(failures(&pair.ends[1]), [theirs]);
        let ours = ("ours".to_owned(), "t".to_owned(), "rejected".to_owned(), round);
        assert_eq!(failures(&pair.ends[0]), [ours]);
        pair.assert_empty("refused");
    }
    assert!(pair.events[1].is_empty(), "the call layer heard of it");
    assert!(
        !format!("{:?}", pair.ends).contains("wrong\""),
        "a password can be seen"
    );
}

#[test]
fn without_a_login_the_error_says_that_there_is_none() {
    let mut pair = pair(1, Network::PERFECT, "right");
    pair.ends[0].invite(pair.now, outgoing(0));
    let Event::Failed { status, reason, .. } = pair.event(0) else {
        panic!("it must fail")
    };
    assert_eq!(status, 401);
    assert_eq!(reason, "authentication is asked for, and the trunk has no username");
    pair.settle();
    pair.assert_empty("no login");
}

#[test]
fn a_nonce_that_expires_or_is_of_an_earlier_process_is_renewed_once() {
    let mut pair = pair(1, Network::PERFECT, "right");
    whole_call(&mut pair);
    pair.run(Duration::from_secs(301));
    whole_call(&mut pair);
    // A restart has another key.
    pair.ends[1] = asking(&mut pair, [3; 32]);
    whole_call(&mut pair);
    let sent = invites(&pair);
    let nonces: Vec<Option<&str>> = sent
        .iter()
        .map(|(_, credentials)| Some(credentials.as_ref()?.nonce.as_str()))
        .collect();
    // None, then each one shown once more than it was good for.
    assert_eq!(nonces.len(), 6);
    assert_eq!(nonces[0], None);
    assert_eq!((nonces[1], nonces[3]), (nonces[2], nonces[4]));
    assert!(nonces[1] != nonces[3] && nonces[3] != nonces[5]);
    let challenges = pair
        .log
        .iter()
        .filter_map(|(_, _, text)| header(text, "WWW-Authenticate"));
    let stale: Vec<bool> = challenges.map(|challenge| challenge.contains("stale=true")).collect();
    assert_eq!(stale, [false, true, true]);
    pair.assert_empty("three calls");
}

#[test]
fn a_cancelled_call_is_not_repeated() {
    let mut pair = pair(1, Network::PERFECT, "right");
    let dialog = call(&mut pair);
    pair.drain();
    pair.ends[0].hang_up(pair.now, dialog, None);
    let Event::Failed { status, .. } = pair.event(0) else {
        panic!("it must fail")
    };
    assert_eq!(status, 401);
    pair.settle();
    assert_eq!(invites(&pair).len(), 1);
    pair.assert_empty("cancelled");
}

/// An endpoint that is called, with these entrances.
fn called(entrances: Vec<Entrance>) -> Wire {
    let mut wire = Wire::new();
    let endpoint = std::mem::replace(&mut wire.endpoint, crate::support::endpoint(0));
    wire.endpoint = endpoint.with_trunks(NonceKey::new([2; 32]), entrances, Logins::new());
    wire
}

const NEW: &str = "INVITE sip:+15550100@192.0.2.1 SIP/2.0";

/// The credentials that answer a challenge, as somebody else would write them.
fn answer(challenge: &str, login: &Login, count: u32) -> Credentials {
    let challenge = voxlane::sip::digest::Challenge::parse(challenge).expect("a challenge");
    let quality = (format!("{count:08x}"), "abc".to_owned());
    let ha1 = login
        .ha1(challenge.algorithm, &challenge.realm)
        .expect("a login for it");
    let uri = "sip:+15550100@192.0.2.1";
    let hashed = Some((quality.0.as_str(), quality.1.as_str()));
    Credentials {
        username: login.username.clone(),
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: uri.into(),
        response: challenge
            .algorithm
            .response(&ha1, &challenge.nonce, hashed, "INVITE", uri),
        algorithm: challenge.algorithm,
        quality: Some(quality),
        opaque: None,
    }
}

fn challenges(response: &str) -> Vec<&str> {
    let lines = response.split("\r\n");
    lines
        .filter_map(|line| line.strip_prefix("WWW-Authenticate: "))
        .collect()
}

/// What an INVITE with this Authorization gets.
fn try_with(wire: &mut Wire, branch: &str, cseq: u32, authorization: &str) -> String {
    let padding = format!("Authorization: {authorization}\nX-Padding: {}\n", "x".repeat(400));
    wire.feed(&request("INVITE", branch, cseq, "", &padding));
    wire.take().remove(0)
}

#[test]
fn a_challenge_offers_each_algorithm_and_leaves_nothing_behind() {
    let mut wire = called(vec![entrance("in", Auth::Digest, &[], Some(login("ann", "right")))]);
    let invite = request("INVITE", "i1", 1, "", &format!("X-Padding: {}\n", "x".repeat(500)));
    wire.feed(&invite);
    let response = wire.only();
    assert!(response.starts_with("SIP/2.0 401 Unauthorized\r\n"), "{response}");
    let offered = challenges(&response);
    let names: Vec<Algorithm> = offered
        .iter()
        .map(|text| voxlane::sip::digest::Challenge::parse(text).unwrap().algorithm)
        .collect();
    assert_eq!(names, Algorithm::ALL);
    assert!(
        offered
            .iter()
            .all(|text| text.contains("realm=\"192.0.2.1\"") && text.contains("qop=\"auth\""))
    );
    // The same request gets the same tag (RFC 3261 section 8.2.7), another one another.
    wire.feed(&invite);
    assert_eq!(header(&wire.only(), "To"), header(&response, "To"));
    wire.feed(&invite.replace("z9hG4bKi1", "z9hG4bKi2"));
    assert_ne!(header(&wire.only(), "To"), header(&response, "To"));
    let counters = wire.endpoint.counters();
    assert_eq!(
        (counters.transactions, counters.dialogs, counters.challenged),
        (0, 0, 3)
    );
    assert_eq!((wire.drain(), wire.events.len()), (None, 0));
}

#[test]
fn a_short_call_is_challenged_shortly() {
    let mut wire = called(vec![entrance("in", Auth::Digest, &[], Some(login("ann", "right")))]);
    let short = request("INVITE", "i1", 1, "", "");
    wire.feed(&short);
    let response = wire.only();
    let [only] = challenges(&response)[..] else {
        panic!("{response}")
    };
    assert!(only.contains("algorithm=MD5"), "{only}");
}

#[test]
fn each_algorithm_lets_in_and_what_was_seen_once_does_not() {
    let ann = login("ann", "right");
    for (at, algorithm) in Algorithm::ALL.into_iter().enumerate() {
        let mut wire = called(vec![entrance("in", Auth::Digest, &[], Some(ann.clone()))]);
        let response = try_with(&mut wire, "i1", 1, "Basic x");
        let good = answer(challenges(&response)[at], &ann, 1);
        assert_eq!(good.algorithm, algorithm);
        assert_eq!(
            try_with(&mut wire, "i2", 2, &good.write()).lines().next(),
            Some("SIP/2.0 100 Trying")
        );
        // Overheard, and sent again as another call.
        let replayed = try_with(&mut wire, "i3", 3, &good.write());
        assert!(
            replayed.starts_with("SIP/2.0 401") && replayed.contains("stale=true"),
            "{replayed}"
        );
        let next = answer(challenges(&response)[at], &ann, 2);
        assert_eq!(
            try_with(&mut wire, "i4", 4, &next.write()).lines().next(),
            Some("SIP/2.0 100 Trying")
        );
        assert_eq!(wire.events.len(), 2);
    }
}

#[test]
fn what_is_wrong_with_credentials_is_counted_and_not_told() {
    let ann = login("ann", "right");
    let mut wire = called(vec![entrance("in", Auth::Digest, &[], Some(ann.clone()))]);
    let response = try_with(&mut wire, "i0", 1, "Basic x");
    let challenge = challenges(&response)[0];
    let good = answer(challenge, &ann, 1);
    let nobody = answer(challenge, &login("bob", "right"), 1);
    let wrong = answer(challenge, &login("ann", "wrong"), 1);
    let elsewhere = Credentials {
        realm: "x".into(),
        ..good.clone()
    };
    let mut answers = Vec::new();
    for (branch, credentials) in [("i1", nobody), ("i2", wrong), ("i3", elsewhere)] {
        let response = try_with(&mut wire, branch, 2, &credentials.write());
        assert!(!response.contains("stale"), "{response}");
        let about = challenges(&response)
            .into_iter()
            .map(|one| one.split("nonce=").next().unwrap().to_owned());
        answers.push((response.lines().next().unwrap().to_owned(), about.collect::<Vec<_>>()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let count = |trunk: &str, reason: &str, count| ("theirs".to_owned(), trunk.to_owned(), reason.to_owned(), count);
    let expected = [
        count("", "malformed", 1),
        count("", "unknown_user", 2),
        count("in", "wrong_password", 1),
    ];
    assert_eq!(failures(&wire.endpoint), expected);
}

#[test]
fn trunks_go_by_address_by_credentials_by_both_or_by_either() {
    let (ann, bob) = (login("ann", "a"), login("bob", "b"));
    let entrances = || {
        vec![
            entrance("open", Auth::Ip, &["192.0.2.0/28"], None),
            entrance("both", Auth::All, &["192.0.2.0/24"], Some(ann.clone())),
            entrance("either", Auth::Any, &["198.51.100.0/24"], Some(bob.clone())),
        ]
    };
    // From where, with whose credentials, on which trunk; 401 if on none.
    for (source, who, trunk) in [
        ("192.0.2.2", None, Some("open")),
        ("192.0.2.2", Some(&ann), Some("both")),
        ("192.0.2.99", None, None),
        ("192.0.2.99", Some(&ann), Some("both")),
        ("198.51.100.1", None, Some("either")),
        ("203.0.113.9", None, None),
        ("203.0.113.9", Some(&bob), Some("either")),
        ("203.0.113.9", Some(&ann), None),
    ] {
        let remote = SocketAddr::from((source.parse::<std::net::IpAddr>().unwrap(), 5060));
        let send = |wire: &mut Wire, authorization: &str| {
            let padding = format!("{authorization}X-Padding: {}\n", "x".repeat(800));
            let text = request("INVITE", "i1", 1, "", &padding).replace('\n', "\r\n");
            wire.feed_from(remote, text.as_bytes());
            wire.take().remove(0)
        };
        let authorization = who.map_or_else(String::new, |who| {
            // One that asks everybody gives a nonce that all with its key take.
            let mut asking = called(vec![entrance("x", Auth::Digest, &[], Some(who.clone()))]);
            let response = send(&mut asking, "");
            format!("Authorization: {}\n", answer(challenges(&response)[0], who, 1).write())
        });
        let mut wire = called(entrances());
        let response = send(&mut wire, &authorization);
        match trunk {
            Some(trunk) => {
                assert!(response.starts_with("SIP/2.0 100"), "{source}: {response}");
                let Some(Event::Incoming(incoming)) = wire.events.last() else {
                    panic!("{source}: a call was expected")
                };
                assert_eq!(incoming.trunk.as_deref(), Some(trunk), "{source}");
            }
            None => assert!(response.starts_with("SIP/2.0 401"), "{source}: {response}"),
        }
    }
}

#[test]
fn an_unknown_source_is_refused_where_no_trunk_takes_credentials() {
    let mut wire = called(vec![entrance("open", Auth::Ip, &["198.51.100.0/24"], None)]);
    let invite = request("INVITE", "i1", 1, "", "");
    assert!(invite.starts_with(NEW));
    wire.feed(&invite);
    // What else there is to it says `sip_strangers.rs`.
    assert_eq!(wire.lines(), ["SIP/2.0 403 Forbidden"]);
    assert!(wire.events.is_empty(), "{:?}", wire.events);
}

#[test]
fn proxies_and_the_far_end_may_both_ask_and_a_bye_is_asked_too() {
    let mut wire = Wire::new();
    let endpoint = std::mem::replace(&mut wire.endpoint, crate::support::endpoint(0));
    let logins = Logins::from([("t".to_owned(), login("ann", "right"))]);
    wire.endpoint = endpoint.with_trunks(NonceKey::new([2; 32]), Vec::new(), logins);
    let mut call = outgoing(0);
    call.trunk = Some("t".into());
    let dialog = wire.endpoint.invite(wire.now, call);
    let reply = |wire: &mut Wire, request: &str, status: &str, extra: &str| {
        let value = |name| header(request, name).expect(name);
        let to = value("To");
        let tag = if to.contains("tag=") { "" } else { ";tag=them" };
        wire.feed(&format!(
            "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to}{tag}\nCall-ID: {}\nCSeq: {}\n{extra}\n",
            value("Via"),
            value("From"),
            value("Call-ID"),
            value("CSeq"),
        ));
    };
    let first = wire.only();
    let proxy = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"p1\", qop=\"auth\"\n";
    reply(&mut wire, &first, "407 Proxy Authentication Required", proxy);
    let [ack, second] = wire.take().try_into().unwrap();
    assert!(ack.starts_with("ACK ") && header(&ack, "Proxy-Authorization").is_none());
    assert!(header(&second, "Proxy-Authorization").is_some_and(|value| value.contains("nc=00000001")));
    // An old far end: MD5, no qop.
    reply(
        &mut wire,
        &second,
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"end\", nonce=\"e1\"\n",
    );
    let [_, third] = wire.take().try_into().unwrap();
    assert!(header(&third, "Proxy-Authorization").is_some_and(|value| value.contains("nc=00000002")));
    let old = Credentials::parse(header(&third, "Authorization").unwrap()).unwrap();
    let ha1 = Algorithm::Md5.hash(&["ann", "end", "right"]);
    assert_eq!(
        old.response,
        Algorithm::Md5.response(&ha1, "e1", None, "INVITE", &old.uri)
    );
    assert_eq!(old.quality, None);
    reply(&mut wire, &third, "200 OK", "Contact: <sip:them@192.0.2.2>\n");
    // RFC 3261 section 13.2.2.4: an ACK cannot be challenged, and has the credentials of its INVITE.
    let ack = wire.only();
    assert!(ack.starts_with("ACK sip:them@192.0.2.2 "), "{ack}");
    for name in ["Authorization", "Proxy-Authorization"] {
        assert_eq!(header(&ack, name), header(&third, name));
    }

    wire.endpoint.hang_up(wire.now, dialog, Some("Q.850;cause=16"));
    let bye = wire.only();
    let shown = Credentials::parse(header(&bye, "Proxy-Authorization").unwrap()).unwrap();
    assert_eq!((shown.count(), shown.uri.as_str()), (Some(3), "sip:them@192.0.2.2"));
    let stale = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"p2\", qop=\"auth\", stale=true\n";
    reply(&mut wire, &bye, "407 Proxy Authentication Required", stale);
    let again = wire.only();
    let renewed = Credentials::parse(header(&again, "Proxy-Authorization").unwrap()).unwrap();
    assert_eq!((renewed.nonce.as_str(), renewed.count()), ("p2", Some(1)));
    assert_eq!(header(&again, "Reason"), Some("Q.850;cause=16"));
    let cseq = |text: &str| {
        header(text, "CSeq")
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(cseq(&again), cseq(&bye) + 1);
    // Refused for good: the dialog ends all the same.
    reply(
        &mut wire,
        &again,
        "407 Proxy Authentication Required",
        &stale.replace("p2", "p3"),
    );
    assert_eq!(wire.take(), Vec::<String>::new());
    let ended = Event::Terminated {
        dialog,
        cause: Termination::ByeAnswered,
    };
    assert_eq!(wire.events.last(), Some(&ended));
    wire.run(Duration::from_secs(100));
    let counters = wire.endpoint.counters();
    assert_eq!((counters.transactions, counters.dialogs), (0, 0));
    assert_eq!(address(0), SocketAddr::from(crate::support::wire::LOCAL));
}
