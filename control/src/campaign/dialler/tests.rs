//! The queue under simulated time.

use super::*;
use crate::campaign::{Entry, Placing};

const WALL: SystemTime = SystemTime::UNIX_EPOCH;

fn placing() -> Placing {
    Placing {
        trunk: "t".into(),
        agent: "a".into(),
        application: Default::default(),
        caller_id: None,
        tenant: None,
        ring_timeout_s: Some(20),
        parameters: BTreeMap::new(),
        headers: BTreeMap::new(),
    }
}

fn order(call: u64) -> Order {
    Order {
        call: CallId(call),
        to: format!("+1555000{call}"),
        from: "+15550100".into(),
        placing: placing(),
    }
}

fn campaign(dialler: &mut Dialler, calls: std::ops::Range<u64>, rate: f64, concurrency: usize) -> CampaignId {
    let orders: Vec<Order> = calls.map(order).collect();
    let request = CampaignRequest {
        numbers: orders.iter().map(|order| Entry::Number(order.to.clone())).collect(),
        rate,
        concurrency,
        placing: placing(),
    };
    dialler.campaign(&request, orders, Time::ZERO, WALL)
}

fn due(dialler: &mut Dialler, now: Time) -> Vec<u64> {
    std::iter::from_fn(|| dialler.due(now, WALL, |_| true))
        .map(|order| order.call.0)
        .collect()
}

fn at(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

fn end(dialler: &mut Dialler, call: u64, status: Option<u16>) -> State {
    let ending = Ending {
        status,
        cause: "x".into(),
    };
    dialler.ended(CallId(call), ending, WALL);
    dialler.result(CallId(call)).map(|result| result.state).unwrap()
}

#[test]
fn a_campaign_keeps_to_its_rate_and_its_concurrency() {
    let mut dialler = Dialler::new(100);
    let id = campaign(&mut dialler, 0..6, 10.0, 3);
    let mut begun = Vec::new();
    for ms in (0..1000).step_by(10) {
        begun.extend(due(&mut dialler, at(ms)).into_iter().map(|call| (ms, call)));
    }
    assert_eq!(begun, [(0, 0), (100, 1), (200, 2)]);
    // All three are alive: nothing is waited for but their patience.
    assert_eq!(dialler.wake(at(1000)), Some(at(20_000)));
    end(&mut dialler, 1, Some(486));
    // What was late is not made up for at once.
    assert_eq!(dialler.wake(at(1000)), Some(at(300)));
    assert_eq!(due(&mut dialler, at(1000)), [3]);
    end(&mut dialler, 0, None);
    end(&mut dialler, 2, None);
    assert_eq!(due(&mut dialler, at(1049)), [0; 0]);
    assert_eq!(due(&mut dialler, at(1050)), [4]);
    assert_eq!(dialler.wake(at(1050)), Some(at(1150)));
    assert_eq!(due(&mut dialler, at(1150)), [5]);
    for call in 3..6 {
        assert_eq!(dialler.campaign_report(id).unwrap().state, "running");
        end(&mut dialler, call, None);
    }
    assert_eq!(dialler.campaign_report(id).unwrap().state, "done");
    assert_eq!((dialler.wake(at(2000)), dialler.waiting()), (None, 0));
}

#[test]
fn single_calls_come_first_and_campaigns_in_turn() {
    let mut dialler = Dialler::new(100);
    campaign(&mut dialler, 0..3, 1000.0, 10);
    campaign(&mut dialler, 10..13, 1000.0, 10);
    dialler.call(order(20), WALL);
    let begun: Vec<u64> = (0..100).flat_map(|ms| due(&mut dialler, at(ms))).collect();
    assert_eq!(begun[0], 20);
    assert_eq!(begun[1..].iter().filter(|call| **call >= 10).count(), 3);
    let first = begun.iter().position(|call| *call >= 10 && *call < 20).unwrap();
    assert!(first < 3, "{begun:?}");
}

#[test]
fn what_became_of_a_call() {
    let mut dialler = Dialler::new(100);
    for call in 0..8 {
        dialler.call(order(call), WALL);
    }
    assert_eq!(due(&mut dialler, at(0)).len(), 8);
    assert_eq!(end(&mut dialler, 0, Some(486)), State::Busy);
    assert_eq!(end(&mut dialler, 1, Some(480)), State::NoAnswer);
    assert_eq!(end(&mut dialler, 2, Some(404)), State::Failed);
    // Nobody is there at all, or nobody answers.
    assert_eq!(end(&mut dialler, 3, Some(408)), State::Failed);
    dialler.ringing(CallId(4), WALL);
    assert_eq!(end(&mut dialler, 4, Some(408)), State::NoAnswer);
    dialler.answered(CallId(5), WALL);
    assert_eq!(end(&mut dialler, 5, None), State::Ended);
    assert!(dialler.cancel(CallId(6), WALL).unwrap());
    assert_eq!(end(&mut dialler, 6, Some(487)), State::Cancelled);
    dialler.ringing(CallId(7), WALL);
    assert_eq!(dialler.overdue(at(19_999)), []);
    assert_eq!(dialler.overdue(at(20_000)), [CallId(7)]);
    assert_eq!(dialler.overdue(at(30_000)), []);
    assert_eq!(end(&mut dialler, 7, Some(487)), State::NoAnswer);
}

#[test]
fn a_campaign_that_is_stopped_begins_nothing_more() {
    let mut dialler = Dialler::new(100);
    let id = campaign(&mut dialler, 0..5, 1000.0, 2);
    assert_eq!([due(&mut dialler, at(0)), due(&mut dialler, at(1))], [[0], [1]]);
    dialler.answered(CallId(0), WALL);
    assert_eq!(dialler.stop(id, WALL), Ok(vec![CallId(1)]));
    assert_eq!(end(&mut dialler, 1, Some(487)), State::Cancelled);
    assert_eq!(due(&mut dialler, at(100)), [0; 0]);
    let report = dialler.campaign_report(id).unwrap();
    assert_eq!((report.state.as_str(), report.ended), ("stopped", None));
    assert_eq!(end(&mut dialler, 0, None), State::Ended);
    let report = dialler.campaign_report(id).unwrap();
    assert!(report.ended.is_some());
    assert_eq!((report.calls["cancelled"], report.calls["ended"]), (4, 1));
    assert_eq!(dialler.results(id).unwrap().len(), 5);
}

#[test]
fn no_more_wait_than_may() {
    let mut dialler = Dialler::new(3);
    dialler.has_room(3).unwrap();
    campaign(&mut dialler, 0..3, 1.0, 1);
    let full = PlaceError::Full { waiting: 3, most: 3 };
    assert_eq!(dialler.has_room(1), Err(full));
    dialler.rest_until(at(500));
    assert_eq!(due(&mut dialler, at(400)), [0; 0]);
    assert_eq!(dialler.due(at(500), WALL, |trunk| trunk != "t"), None);
    assert!(dialler.is_ready(at(500)));
    assert_eq!(due(&mut dialler, at(500)), [0]);
    dialler.has_room(1).unwrap();
    dialler.close(WALL);
    assert_eq!(
        (due(&mut dialler, at(9000)), dialler.is_ready(at(9000))),
        (vec![], false)
    );
    assert_eq!((dialler.waiting(), dialler.has_room(1)), (0, Err(PlaceError::Stopping)));
    let states: Vec<State> = (0..3).map(|call| dialler.result(CallId(call)).unwrap().state).collect();
    assert_eq!(states, [State::Calling, State::Cancelled, State::Cancelled]);
}
