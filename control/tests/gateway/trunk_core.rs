//! What the gateway's core does for its trunks beside calls, seen from the carrier: OPTIONS, REGISTER, who calls. In memory,
//! on virtual time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::core_support::Books;
use voxlane::config::model::Config;
use voxlane::gateway::core::Core;
use voxlane::sip::locate::Destination;
use voxlane::sip::{Input, Transport};
use voxlane::time::Time;

const GATEWAY: &str = "203.0.113.50:5060";
const CALLER: &str = "198.51.100.1:5060";
const FIRST: &str = "192.0.2.1:5060";
const SECOND: &str = "192.0.2.2:5060";
const SECOND_LONG: Duration = Duration::from_secs(1);

const CONFIG: &str = r#"
[[trunk]]
name = "in"
allow = ["198.51.100.0/24"]

[[trunk]]
name = "out"
gateway_timeout = "2s"
TRUNK

[[trunk.gateway]]
address = "192.0.2.1"

[[trunk.gateway]]
address = "192.0.2.2"
priority = 1

[[agent]]
name = "echo"
url = "builtin:echo"

[[did]]
number = "+15550001"
agent = "echo"

[[did]]
number = "+15551000..+15551999"
trunk = "out"
"#;

struct World {
    now: Time,
    core: Core,
    sent: Vec<(SocketAddr, String)>,
    calls: u32,
    /// Call-IDs of the OPTIONS that were seen.
    asked: Vec<String>,
    /// What DNS has for every name.
    addresses: &'static [&'static str],
}

impl World {
    /// A gateway whose trunk says this of itself.
    fn new(trunk: &str) -> Self {
        Self::of(&CONFIG.replace("TRUNK", trunk), &[])
    }

    fn of(text: &str, addresses: &'static [&'static str]) -> Self {
        let config = Config::parse(text, "voxlane.toml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let local_for = |_, _| Ok(GATEWAY.parse().unwrap());
        let books = Arc::new(Books::default());
        let core = Core::new(Arc::new(config), books, Vec::new(), Box::new(local_for), 7);
        let mut world = Self {
            now: Time::from_micros(1),
            core,
            sent: Vec::new(),
            calls: 0,
            asked: Vec::new(),
            addresses,
        };
        world.wait(Duration::ZERO);
        world
    }

    /// The same with one gateway, a name that DNS has these addresses for.
    fn named(trunk: &str, addresses: &'static [&'static str]) -> Self {
        let gateways =
            "[[trunk.gateway]]\naddress = \"192.0.2.1\"\n\n[[trunk.gateway]]\naddress = \"192.0.2.2\"\npriority = 1\n";
        assert!(CONFIG.contains(gateways));
        let named = "[[trunk.gateway]]\naddress = \"sbc.example\"\n";
        Self::of(&CONFIG.replace(gateways, named).replace("TRUNK", trunk), addresses)
    }

    fn fetch(&mut self) {
        let mut effects = self.core.take_effects();
        for (asker, _) in std::mem::take(&mut effects.places) {
            let at = |text: &&str| Destination {
                remote: text.parse().unwrap(),
                transport: Transport::Udp,
            };
            let found = Ok(self.addresses.iter().map(at).collect());
            self.core.located(self.now, asker, found);
            // What that led to comes with the rest.
            effects.transmits.extend(self.core.take_effects().transmits);
        }
        let text = |data: Vec<u8>| String::from_utf8(data).unwrap();
        let sent = effects.transmits.into_iter();
        self.sent
            .extend(sent.map(|transmit| (transmit.path.remote, text(transmit.data))));
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.core.timeout(self.now);
            self.fetch();
            if self.now >= end {
                return;
            }
            self.now = (self.now + Duration::from_millis(100)).min(end);
        }
    }

    fn feed(&mut self, from: &str, text: &str) {
        let text = text.replace('\n', "\r\n");
        let input = Input::Datagram {
            local: GATEWAY.parse().unwrap(),
            remote: from.parse().unwrap(),
            data: text.as_bytes(),
        };
        self.core.input(self.now, input);
        self.fetch();
    }

    /// Answers a request of the gateway's.
    fn answer(&mut self, from: &str, request: &str, status: &str, extra: &str) {
        let copied = ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\n", header(request, name)));
        let to = header(request, "To");
        let text = format!("SIP/2.0 {status}\n{}To: {to};tag=them\n{extra}\n", copied.concat());
        self.feed(from, &text);
    }

    /// What was sent since the last look, by method and to whom.
    fn requests(&mut self, method: &str) -> Vec<(String, String)> {
        let begin = format!("{method} ");
        let (wanted, rest) = self.sent.drain(..).partition(|(_, text)| text.starts_with(&begin));
        self.sent = rest;
        wanted.into_iter().map(|(to, text)| (to.to_string(), text)).collect()
    }

    fn only(&mut self, method: &str) -> (String, String) {
        let mut all = self.requests(method);
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// A call from a number to another; the INVITEs that follow.
    fn call(&mut self, to: &str, extra: &str) -> Vec<(String, String)> {
        self.calls += 1;
        let number = self.calls;
        self.requests("INVITE");
        self.feed(
            CALLER,
            &format!(
                "INVITE sip:{to}@203.0.113.50 SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK{number}\n\
                 Max-Forwards: 70\nFrom: <sip:+15557777@198.51.100.1>;tag={number}\nTo: <sip:{to}@203.0.113.50>\n\
                 Call-ID: c{number}\nCSeq: 1 INVITE\nContact: <sip:198.51.100.1>\n{extra}\n"
            ),
        );
        self.requests("INVITE")
    }

    /// Where a call goes first; it is refused there.
    fn first_choice(&mut self) -> String {
        let (to, invite) = self.call("+15551000", "").remove(0);
        self.answer(&to, &invite, "486 Busy Here", "");
        to
    }

    fn states(&self) -> Vec<(String, String)> {
        let rows = self.core.trunk_rows(self.now).into_iter().flat_map(|row| row.gateways);
        let known = rows.filter_map(|row| Some((row.target?, row.state.word().to_owned())));
        known.collect()
    }

    fn registered(&self) -> bool {
        let rows = self.core.trunk_rows(self.now);
        rows[0].registration.as_ref().unwrap().registered
    }
}

fn header(text: &str, name: &str) -> String {
    let begin = format!("{name}: ");
    let line = text.lines().find_map(|line| line.strip_prefix(&begin));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).to_owned()
}

/// Lets OPTIONS be asked so often, every ten seconds; the second gateway answers 200, the first what is said, if anything.
fn checks(world: &mut World, times: usize, first: Option<&str>) {
    let mut asked = Vec::new();
    for _ in 0..10 * times {
        world.wait(SECOND_LONG);
        for (to, request) in world.requests("OPTIONS") {
            let call_id = header(&request, "Call-ID");
            // Not so one that is repeated, since nobody has answered it.
            if !world.asked.contains(&call_id) {
                world.asked.push(call_id);
                match (to.as_str(), first) {
                    (SECOND, _) => world.answer(SECOND, &request, "200 OK", ""),
                    (_, Some(status)) => world.answer(FIRST, &request, status, ""),
                    (_, None) => {}
                }
                asked.push(to);
            }
        }
    }
    let of = |to: &str| asked.iter().filter(|at| *at == to).count();
    assert_eq!((of(FIRST), of(SECOND)), (times, times));
}

#[test]
fn a_gateway_that_does_not_answer_options_is_called_last_until_it_does_again() {
    let mut world = World::new("health_interval = \"10s\"\nhealth_failures = 2\nhealth_successes = 2");
    assert_eq!(world.first_choice(), FIRST);
    let options = world.requests("OPTIONS");
    assert!(
        options[0].1.starts_with("OPTIONS sip:192.0.2.1 SIP/2.0\r\n"),
        "{options:?}"
    );
    for (to, request) in options {
        world.answer(&to, &request, "200 OK", "");
    }
    // From now on each time within a round of checks is theirs.
    world.wait(5 * SECOND_LONG);
    checks(&mut world, 3, None);
    let state = |to: &str, state: &str| (format!("udp:{to}"), state.to_owned());
    assert_eq!(world.states(), [state(FIRST, "down"), state(SECOND, "up")]);
    let invites = world.call("+15551000", "");
    assert_eq!(invites[0].0, SECOND);
    // It is still tried when the other one fails.
    let (_, invite) = invites[0].clone();
    world.answer(SECOND, &invite, "503 No", "");
    let (to, invite) = world.only("INVITE");
    assert_eq!(to, FIRST);
    world.answer(FIRST, &invite, "503 No", "");
    // Whatever it answers but 503 shows that it lives; once is not enough.
    checks(&mut world, 1, Some("404 Not Found"));
    assert_eq!(world.first_choice(), SECOND);
    checks(&mut world, 2, Some("404 Not Found"));
    assert_eq!(world.first_choice(), FIRST);
    assert_eq!(world.states()[0], state(FIRST, "up"));
}

#[test]
fn where_all_gateways_are_down_all_are_tried_in_their_usual_order() {
    let mut world = World::new("health_interval = \"10s\"\nhealth_failures = 2");
    // Nobody answers any OPTIONS.
    world.wait(25 * SECOND_LONG);
    let states: Vec<String> = world.states().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["down", "down"]);
    let (to, invite) = world.call("+15551000", "").remove(0);
    assert_eq!(to, FIRST);
    world.answer(FIRST, &invite, "503 No", "");
    let (to, invite) = world.only("INVITE");
    assert_eq!(to, SECOND);
    world.answer(SECOND, &invite, "180 Ringing", "");
    let ringing = world
        .sent
        .iter()
        .any(|(to, text)| to.to_string() == CALLER && text.starts_with("SIP/2.0 180 "));
    assert!(ringing, "{:#?}", world.sent);
}

#[test]
fn one_address_of_a_name_that_is_down_comes_after_the_others() {
    let mut world = World::named("health_interval = \"10s\"\nhealth_failures = 2", &[FIRST, SECOND]);
    for round in 0..3 {
        world.wait(10 * SECOND_LONG);
        for (to, request) in world.requests("OPTIONS") {
            assert!([FIRST, SECOND].contains(&to.as_str()), "{round}: {to}");
            if to == SECOND {
                world.answer(SECOND, &request, "200 OK", "");
            }
        }
    }
    world.wait(5 * SECOND_LONG);
    let row = |at: &str, state: &str| (format!("udp:{at}"), state.to_owned());
    assert_eq!(world.states(), [row(FIRST, "down"), row(SECOND, "up")]);
    let sent = world.call("+15551000", "");
    assert_eq!(sent[0].0, SECOND);
}

#[test]
fn calls_that_fail_are_evidence_and_503_with_retry_after_is_obeyed() {
    let mut world = World::new("health_interval = \"1h\"\nhealth_failures = 2");
    for (_, options) in world.requests("OPTIONS") {
        let to = if options.starts_with("OPTIONS sip:192.0.2.1 ") {
            FIRST
        } else {
            SECOND
        };
        world.answer(to, &options, "200 OK", "");
    }
    for _ in 0..2 {
        let (to, invite) = world.call("+15551000", "").remove(0);
        assert_eq!(to, FIRST);
        world.answer(FIRST, &invite, "503 No", "");
    }
    assert_eq!(world.states()[0].1, "down");
    assert_eq!(world.first_choice(), SECOND);

    // Without checks nobody would find out that it is up again; but for as long as it asks it is left alone.
    let mut world = World::new("");
    let (_, invite) = world.call("+15551000", "").remove(0);
    world.answer(FIRST, &invite, "503 No", "Retry-After: 20\n");
    assert_eq!(world.states(), [(format!("udp:{FIRST}"), "resting".to_owned())]);
    assert_eq!(world.first_choice(), SECOND);
    world.wait(20 * SECOND_LONG);
    assert_eq!(world.first_choice(), FIRST);
}

const REGISTERS: &str = "domain = \"carrier.example\"\nusername = \"acme\"\npassword = \"s3cret\"\nregister = \"on\"\n\
    register_user = \"+15550000\"\nregister_expires = \"60s\"";

#[test]
fn a_registration_from_its_first_request_to_its_last() {
    let mut world = World::new(REGISTERS);
    let (to, first) = world.only("REGISTER");
    assert_eq!(to, FIRST);
    assert!(first.starts_with("REGISTER sip:carrier.example SIP/2.0\r\n"), "{first}");
    assert_eq!(header(&first, "To"), "<sip:+15550000@carrier.example>");
    assert!(header(&first, "From").starts_with("<sip:+15550000@carrier.example>;tag="));
    assert_eq!(header(&first, "Expires"), "60");
    let contact = header(&first, "Contact");
    assert!(
        contact.starts_with("<sip:vx") && contact.ends_with("@203.0.113.50:5060>"),
        "{contact}"
    );

    let challenge = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\n";
    world.answer(FIRST, &first, "401 Who", challenge);
    let (_, second) = world.only("REGISTER");
    assert!(
        header(&second, "Authorization").contains("username=\"acme\""),
        "{second}"
    );
    // The same series: RFC 3261 section 10.2.
    let cseq = |text: &str| header(text, "CSeq").split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(cseq(&second), cseq(&first) + 1);

    world.answer(FIRST, &second, "423 Too Brief", "Min-Expires: 120\n");
    world.wait(Duration::ZERO);
    let (_, third) = world.only("REGISTER");
    assert_eq!(header(&third, "Expires"), "120");
    assert!(!world.registered());
    world.answer(FIRST, &third, "200 OK", &format!("Contact: {contact};expires=100\n"));
    assert!(world.registered());

    // Refreshed in time.
    world.wait(69 * SECOND_LONG);
    assert!(world.requests("REGISTER").is_empty());
    world.wait(12 * SECOND_LONG);
    let (_, fourth) = world.requests("REGISTER").remove(0);
    assert_eq!(header(&fourth, "Contact"), contact);
    assert_eq!(cseq(&fourth), cseq(&third) + 1);
    world.answer(FIRST, &fourth, "200 OK", &format!("Contact: {contact};expires=100\n"));

    // Taken back when the gateway ends.
    world.core.stop(world.now, "enough");
    world.fetch();
    let (_, last) = world.only("REGISTER");
    assert_eq!(
        (header(&last, "Expires"), header(&last, "Contact")),
        ("0".into(), contact)
    );
    assert!(!world.core.is_idle());
    world.answer(FIRST, &last, "200 OK", "");
    assert!(world.core.is_idle() && !world.registered());
}

#[test]
fn a_registrar_that_is_silent_is_passed_over_and_failure_is_tried_again() {
    let mut world = World::new(REGISTERS);
    world.requests("REGISTER");
    // Timer F.
    world.wait(33 * SECOND_LONG);
    let asked = world.requests("REGISTER");
    let (_, second) = asked.iter().find(|(to, _)| to == SECOND).unwrap().clone();
    world.answer(SECOND, &second, "403 No", "");
    assert!(!world.registered());
    let row = world.core.trunk_rows(world.now).remove(0).registration.unwrap();
    assert_eq!(row.last.as_deref(), Some("403 No"));
    world.wait(6 * SECOND_LONG);
    assert_eq!(world.requests("REGISTER")[0].0, FIRST);
}

#[test]
fn a_call_to_our_contact_is_the_trunks_wherever_it_comes_from() {
    let mut world = World::new(REGISTERS);
    let (_, register) = world.only("REGISTER");
    let contact = header(&register, "Contact");
    world.answer(FIRST, &register, "200 OK", &format!("Contact: {contact};expires=100\n"));
    let uri = contact.trim_matches(['<', '>']).to_owned();
    let mut arrives = |uri: &str, branch: &str| {
        world.sent.clear();
        world.feed(
            "192.0.2.77:5060",
            &format!(
                "INVITE {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bK{branch}\nMax-Forwards: 70\n\
                 From: <sip:+15557777@carrier.example>;tag={branch}\nTo: <sip:+15550001@carrier.example>\n\
                 Call-ID: {branch}\nCSeq: 1 INVITE\nContact: <sip:192.0.2.77>\n\n"
            ),
        );
        let statuses = world.sent.iter().filter_map(|(_, text)| text.strip_prefix("SIP/2.0 "));
        statuses.map(|text| text[..3].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(arrives(&uri, "1"), ["100", "180"]);
    // Nobody else has been told of any other.
    let guessed = uri.replace("sip:vx", "sip:vx0");
    assert_eq!(arrives(&guessed, "2"), ["403"]);
    let calls = world.core.calls_report().active;
    assert_eq!(
        (calls[0].trunk.as_deref(), calls[0].to.as_str()),
        (Some("out"), "+15550001")
    );
}

#[test]
fn an_invite_says_who_calls_as_its_trunk_wants_it() {
    let identity = "domain = \"carrier.example\"\nasserted_identity = \"caller\"\nuser_phone = \"on\"";
    let mut world = World::new(identity);
    let (_, invite) = world.call("+15551000", "").remove(0);
    assert!(
        invite.starts_with("INVITE sip:+15551000@carrier.example;user=phone SIP/2.0\r\n"),
        "{invite}"
    );
    assert_eq!(header(&invite, "To"), "<sip:+15551000@carrier.example;user=phone>");
    assert!(header(&invite, "From").starts_with("<sip:+15557777@203.0.113.50;user=phone>;tag="));
    assert_eq!(
        header(&invite, "P-Asserted-Identity"),
        "<sip:+15557777@203.0.113.50;user=phone>"
    );
    assert!(!invite.contains("\r\nPrivacy:"));

    let (_, invite) = world.call("+15551000", "Privacy: id\n").remove(0);
    assert!(header(&invite, "From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    assert_eq!(header(&invite, "Privacy"), "id");
    assert_eq!(
        header(&invite, "P-Asserted-Identity"),
        "<sip:+15557777@203.0.113.50;user=phone>"
    );
}
