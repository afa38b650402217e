//! Random calls, by the thousands, through both dialogs of the gateway's core, on networks good and bad: whatever callers,
//! callees and agents do and whatever is lost on the way, no call is ever left with one leg up, every call ends in a
//! record, and nothing is left when all is over.
//!
//! A story that fails says its seed. It is told again, line by line, by
//! `VOXLANE_STORY=network:seed cargo test -p voxlane --test gateway scenarios -- --nocapture`; `VOXLANE_STORIES=n` tells so many on
//! each network instead of the usual number.

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use crate::scenario_support::people::{CALLEE, CALLER, Deed, NUMBERS, Person, THIRD};
use crate::scenario_support::{Network, World};
use rand::Rng;
use voxlane::call::transfer::{Asker, Way};
use voxlane::config::model::Config;
use voxlane::ops::report::{CallReport, TransferRow};

const CONFIG: &str = r#"
[sip]
max_calls = 3
invite_timeout = "40s"

[media]
media_timeout = "20s"

[[trunk]]
name = "carrier"
allow = ["198.51.100.0/24"]
proxy = "192.0.2.20"
session_expires = "90s"
reliable_provisional = "supported"
caller_ids = ["+15550100"]
refers = "any"
replaces = "supported"

[[trunk]]
name = "named"
proxy = "proxy.example"
session_expires = "90s"

[[trunk]]
name = "third"
proxy = "192.0.2.30"
session_expires = "90s"
reliable_provisional = "supported"
caller_ids = ["+15550300"]
refers = "any"

[transfer]
trunk = "third"
timeout = "20s"

[[agent]]
name = "echo"
url = "builtin:echo"
transfer_trunks = ["third"]
on_failure = { trunk = "third", to = "+15550300" }

[[agent]]
name = "bot"
url = "ws://bot.example:8080/"
transfer_trunks = ["third"]
on_failure = { agent = "second" }
on_lost = { status = 503, cause = 27 }
on_connect_timeout = { status = 486 }

[[agent]]
name = "second"
url = "builtin:tone"
transfer_trunks = ["third"]
on_failure = { trunk = "third", to = "sip:+15550300@192.0.2.30" }
on_silent = { agent = "bot" }

[[did]]
number = "+15550001"
agent = "echo"
dial_trunks = ["third"]

[[did]]
number = "+15550002"
agent = "bot"
dial_trunks = ["third"]

[[did]]
number = "+15550004"
voice_url = "http://app.example/voice"
voice_fallback_url = "http://app.example/fallback"
status_callback = "http://app.example/status"
status_callback_event = ["initiated", "ringing", "answered", "completed"]
dial_trunks = ["third", "named"]

[[did]]
number = "+15551000..+15551999"
trunk = "carrier"
dial_trunks = ["third"]

[[did]]
number = "+15552000"
trunk = "named"
"#;

/// How many stories of each network are told.
const STORIES: u64 = 1000;

/// Up to when calls begin.
const BEGIN: u64 = 60_000;
/// By when everything that anybody plans is done, and every timer of it has run out.
const ALL_DONE: Duration = Duration::from_secs(900);
/// How long the end of a call takes at most: a BYE that nobody answers (RFC 3261 timer F).
const ENDING: Duration = Duration::from_secs(40);

fn network(name: &str) -> Network {
    let (loss, duplication, delay) = match name {
        "good" => (0.0, 0.0, (1, 20)),
        "bad" => (0.1, 0.05, (1, 400)),
        "awful" => (0.3, 0.2, (1, 2_500)),
        other => panic!("there is no network {other:?}"),
    };
    Network {
        loss,
        duplication,
        delay,
    }
}

/// Says which story it was, if it does not come to a good end.
struct Teller<'a> {
    name: &'a str,
    seed: u64,
    world: World,
}

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.world.story {
                println!("{line}");
            }
            println!(
                "again: VOXLANE_STORY={}:{} cargo test -p voxlane --test gateway scenarios",
                self.name, self.seed
            );
        }
    }
}

/// What happened, as words: states of transfers and of calls that were placed.
type Happened = BTreeSet<String>;

fn tell(name: &str, seed: u64, config: &Arc<Config>, happened: &mut Happened) {
    let mut teller = Teller {
        name,
        seed,
        world: World::new(seed, network(name), config),
    };
    let world = &mut teller.world;
    for (address, number) in [(CALLER, 1), (CALLEE, 2), (THIRD, 3)] {
        world.people.insert(address.into(), Person::new(seed * 4 + number));
    }
    let calls = world.random.random_range(1..=4);
    for _ in 0..calls {
        let number = NUMBERS[world.random.random_range(0..NUMBERS.len())];
        let after = world.while_of(BEGIN);
        world.plan(after, Deed::Call(number));
    }
    for _ in 0..world.random.random_range(0..=2) {
        let after = world.while_of(BEGIN);
        world.plan(after, Deed::Place);
    }
    for _ in 0..world.random.random_range(0..=5) {
        let after = world.while_of(2 * BEGIN);
        world.plan(after, Deed::Operate);
    }
    if world.chance(0.05) {
        let after = world.while_of(2 * BEGIN);
        world.plan(after, Deed::Stop);
    }
    for turn in 0..200 {
        world.plan(Duration::from_secs(2 * turn), Deed::Watch);
    }

    world.run(ALL_DONE);
    let half = half_up(world);
    // A refresh that failed may have ended a call a moment ago.
    world.run(ENDING);
    let still: Vec<_> = half_up(world).into_iter().filter(|what| half.contains(what)).collect();
    assert!(still.is_empty(), "{still:#?}");
    world.core.stop(world.now, "the end");
    world.run(Duration::from_secs(200));
    nothing_is_left(world);
    let report = world.core.calls_report();
    let transfers = report.recent.iter().flat_map(|record| &record.transfers);
    happened.extend(transfers.map(|transfer| {
        let TransferRow {
            by, asked_by, state, ..
        } = transfer;
        format!("transfer by {by} for {asked_by:?}: {state}")
    }));
    for record in &report.recent {
        let outcome = if record.answered.is_some() {
            "answered"
        } else {
            "not answered"
        };
        let failures = record.agent_failures.iter();
        happened.extend(failures.map(|failure| format!("a fallback to {}, {outcome}", failure.then)));
    }
    let placed: BTreeSet<String> = world.placed.iter().map(ToString::to_string).collect();
    let given_away = |record: &CallReport| {
        let completed = record
            .transfers
            .iter()
            .any(|transfer| transfer.state == "completed" && transfer.by == Way::Bridge);
        completed && placed.contains(&record.id)
    };
    if report.recent.iter().any(given_away) {
        happened.insert("a placed call given away".into());
    }
    // No number's application is called so: it took the call over.
    let taken_over = |record: &&CallReport| record.agent.as_deref() == Some("twiml");
    let dialled = |record: &CallReport| {
        let transfers = &record.transfers;
        let completed = |row: &TransferRow| row.asked_by == Asker::Application && row.state == "completed";
        transfers.iter().any(completed)
    };
    for record in report.recent.iter().filter(taken_over).filter(|record| dialled(record)) {
        let whose = match record.to.as_str() {
            "+15550001" | "+15550002" => "an agent's caller",
            _ if placed.contains(&record.id) => "whom an agent has called",
            _ => "a relayed caller",
        };
        happened.insert(format!("{whose} taken over and connected"));
    }
    if world.replaced > 0 {
        happened.insert("a leg replaced".into());
    }
    let placed = world.placed.iter().filter_map(|call| world.core.placed(*call).ok());
    happened.extend(placed.map(|result| format!("placed {}", result.state.name())));
    let calls = world.begun.len() as u64;
    assert!(
        world.sent < 1_000 * (1 + calls),
        "{} datagrams for {calls} calls",
        world.sent
    );
}

/// What is not up on both sides, nor on neither: calls that are on their way up or down, and legs that only one side has.
fn half_up(world: &World) -> Vec<String> {
    let calls = world.core.calls_report().active;
    let known: BTreeSet<&str> = calls
        .iter()
        .flat_map(|call| &call.legs)
        .map(|leg| leg.call_id.as_str())
        .collect();
    let people = || world.people.values().filter(|person| person.alive);
    let believed: BTreeSet<&str> = people()
        .flat_map(|person| person.up.values())
        .map(String::as_str)
        .collect();

    let mut half: Vec<String> = believed
        .difference(&known)
        .map(|call_id| format!("somebody believes {call_id} up, and the gateway does not know it"))
        .collect();
    for call in &calls {
        if call.state != "up" {
            half.push(format!("{} has come to nothing, it is {}", call.id, call.state));
            continue;
        }
        let legs = call.legs.iter().filter(|leg| !leg.left).map(|leg| leg.call_id.as_str());
        for leg in legs.filter(|leg| !leg.is_empty() && !believed.contains(leg)) {
            half.push(format!("leg {leg} of {} is up, and nobody is there", call.id));
        }
    }
    half
}

fn nothing_is_left(world: &mut World) {
    assert!(world.core.is_idle(), "{:#?}", world.core.calls_report().active);
    assert!(world.books.open.lock().unwrap().is_empty(), "media is left open");
    let counters = world.core.sip_counters();
    assert_eq!((counters.transactions, counters.dialogs), (0, 0), "{counters:?}");
    assert_eq!(world.core.take_effects().wake, None, "a timer is left");
    for (name, person) in world.people.iter().filter(|(_, person)| person.alive) {
        assert!(person.up.is_empty(), "{name} believes {:?} up", person.up);
        assert_eq!(person.endpoint.counters().dialogs, 0, "{name} has dialogs left");
    }
    for call in &world.placed {
        let result = world.core.placed(*call).unwrap();
        assert!(result.state.is_final(), "{result:?} has come to nothing");
    }
    let records = world.core.calls_report().recent;
    let recorded: BTreeSet<String> = records.iter().map(|record| record.id.clone()).collect();
    assert_eq!(recorded.len(), records.len(), "a call has two records");
    assert!(
        world.begun.is_subset(&recorded),
        "{:?} left no record",
        world.begun.difference(&recorded)
    );
    assert!(
        records
            .iter()
            .all(|record| record.cause.is_some() && record.ended.is_some())
    );
}

fn stories(name: &str) {
    let config = Arc::new(Config::parse(CONFIG, "voxlane.toml", &|_| None).unwrap());
    let mut happened = Happened::new();
    if let Ok(one) = env::var("VOXLANE_STORY") {
        let (of, seed) = one.split_once(':').expect("VOXLANE_STORY=network:seed");
        if of == name {
            tell(name, seed.parse().unwrap(), &config, &mut happened);
        }
        return;
    }
    let most = env::var("VOXLANE_STORIES").map_or(STORIES, |most| most.parse().unwrap());
    for seed in 0..most {
        tell(name, seed, &config, &mut happened);
    }
    for what in [
        "transfer by bridge for Operator: completed",
        "transfer by bridge for Agent: failed",
        "transfer by refer for Operator: completed",
        "transfer by refer for Operator: failed",
        "transfer by bridge for Carrier: completed",
        "transfer by bridge for Carrier: failed",
        "transfer by bridge for Fallback: completed",
        "transfer by bridge for Fallback: failed",
        "a fallback to agent second, answered",
        "a fallback to agent second, not answered",
        "a fallback to +15550300 on trunk third, answered",
        "a fallback to sip:+15550300@192.0.2.30 on trunk third, answered",
        "a fallback to hang up, answered",
        "a fallback to hang up, not answered",
        "transfer by bridge for Application: completed",
        "transfer by bridge for Application: failed",
        "transfer by refer for Application: completed",
        "transfer by refer for Application: failed",
        "a leg replaced",
        "a placed call given away",
        "an agent's caller taken over and connected",
        "whom an agent has called taken over and connected",
        "placed ended",
        "placed busy",
        "placed no-answer",
        "placed cancelled",
    ] {
        assert!(happened.contains(what), "{what} never happened: {happened:?}");
    }
}

#[test]
fn on_a_good_network() {
    stories("good");
}

#[test]
fn on_a_bad_network() {
    stories("bad");
}

#[test]
fn on_an_awful_network() {
    stories("awful");
}
