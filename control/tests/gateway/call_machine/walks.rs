//! Events in any order: no leg is left behind.

use super::*;

/// The world around a call, for random walks: what is open, which dialogs are alive.
struct World {
    media: [bool; 3],
    dialogs: [bool; 3],
    /// Whether what is refused from now on are re-INVITEs.
    answered: bool,
    finished: usize,
    replies: Vec<Event>,
    /// What is configured for an agent that fails.
    fallback: Fallback,
}

impl World {
    fn new(dialogs: [bool; 3], fallback: Fallback) -> Self {
        Self {
            media: [false; 3],
            dialogs,
            answered: false,
            finished: 0,
            replies: Vec::new(),
            fallback,
        }
    }
}

fn any_fallback() -> impl Strategy<Value = Fallback> {
    prop_oneof![
        Just(hang_up()),
        any::<bool>().prop_map(fallbacks::other_agent),
        Just(fallbacks::somebody()),
    ]
}

impl World {
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert_eq!(self.finished, 0, "{action:?} after Finish");
            match action {
                Action::OpenMedia { side, .. } => {
                    self.media[side as usize] = true;
                    self.replies.push(opened(side));
                }
                Action::CloseMedia { side } => {
                    assert!(self.media[side as usize], "closed twice: {side:?}");
                    self.media[side as usize] = false;
                }
                Action::Invite { .. } => self.dialogs[1] = true,
                Action::Reject {
                    side: Side::A, status, ..
                } if !self.answered && status != 491 => self.dialogs[0] = false,
                Action::Answer { .. } => self.answered = true,
                Action::HangUp { side, .. } => {
                    assert!(self.dialogs[side as usize], "hung up a dialog that is gone");
                    self.replies.push(Event::Terminated {
                        side,
                        cause: Termination::ByeAnswered,
                    });
                }
                Action::Finish(_) => self.finished += 1,
                Action::Program { side, .. } => assert!(self.media[side as usize], "programmed closed media"),
                Action::Relay => assert!(self.media[..2] == [true, true], "relayed closed media"),
                Action::Transfer(transfer::Action::Invite { .. }) => self.dialogs[2] = true,
                Action::Transfer(transfer::Action::Replace { side }) => {
                    self.media.swap(side as usize, 2);
                    self.dialogs.swap(side as usize, 2);
                }
                Action::Transfer(transfer::Action::TakePlace { side }) => {
                    self.dialogs.swap(side as usize, 2);
                }
                Action::Transfer(transfer::Action::RingBack { side }) => {
                    assert!(self.media[side as usize], "a tone for closed media");
                }
                Action::Transfer(transfer::Action::Reattach { side, .. }) => {
                    assert!(self.media[side as usize], "an agent again for closed media");
                }
                Action::Transfer(transfer::Action::Refer { side }) => {
                    assert!(self.dialogs[side as usize], "referred a dialog that is gone");
                }
                Action::Transfer(
                    transfer::Action::Wake(_) | transfer::Action::Tell(_) | transfer::Action::Report { .. },
                ) => {}
                Action::Offer { side, .. } => assert!(self.dialogs[side as usize], "offered to a dialog that is gone"),
                Action::LetSpeak { .. } => assert!(self.answered, "an agent is heard before the answer"),
                Action::AnswerUpdate { .. } | Action::RejectUpdate { .. } => {}
                // These calls are given to no application; `scenarios` has some that are.
                Action::Application(_) => panic!("{action:?}"),
                Action::FallBack(_) => self.replies.push(Event::FallBack(self.fallback.clone())),
                Action::Reject { .. } | Action::Resolve(_) | Action::Locate(_) | Action::Ring { .. } => {}
                Action::Attach { .. } => assert!(self.media[0] || self.media[1], "an agent for closed media"),
            }
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let side = prop_oneof![Just(Side::A), Just(Side::B), Just(Side::C)];
    let sdp = prop_oneof![
        Just(None),
        Just(Some(ANSWER.into())),
        Just(Some(OFFER.into())),
        Just(Some(b"junk".to_vec()))
    ];
    prop_oneof![
        Just(located(&["192.0.2.2:5060"])),
        Just(Event::Resolved(vec![])),
        Just(Event::Unresolved("no".into())),
        Just(Event::AgentReady),
        Just(Event::AgentEnded),
        Just(Event::AgentFailed(AgentFailure::ConnectTimeout)),
        Just(Event::AgentFailed(AgentFailure::Silent)),
        Just(Event::Resolved(vec![address("192.0.2.9:80")])),
        Just(Event::NotLocated("no".into())),
        sdp.clone().prop_map(|sdp| Event::Progress { status: 183, sdp }),
        sdp.clone().prop_map(|sdp| Event::Answered { sdp }),
        Just(Event::Failed {
            status: 486,
            reason: "Busy Here".into(),
            failure: Failure::refused(),
        }),
        Just(Event::Failed {
            status: 503,
            reason: "Service Unavailable".into(),
            failure: Failure::refused(),
        }),
        (side.clone(), sdp.clone()).prop_map(|(side, sdp)| Event::Confirmed { side, sdp }),
        Just(Event::Cancelled),
        (side.clone(), sdp.clone()).prop_map(|(side, sdp)| Event::Reinvite { side, sdp }),
        (side.clone(), sdp.clone()).prop_map(|(side, sdp)| Event::Update {
            side,
            sdp: sdp.unwrap_or_default()
        }),
        (side.clone(), sdp).prop_map(|(side, sdp)| Event::OfferAnswered { side, sdp }),
        side.clone().prop_map(|side| Event::OfferRefused { side }),
        side.clone().prop_map(|side| Event::Bye { side, reason: None }),
        side.prop_map(|side| Event::MediaFailed {
            side,
            status: 503,
            error: "no port".into()
        }),
        Just(Event::Stop { text: "stop".into() }),
        any_transfer().prop_map(Event::Transfer),
        any_transfer().prop_map(Event::Transfer),
    ]
}

fn any_transfer() -> impl Strategy<Value = transfer::Event> {
    use transfer::Event;

    let sdp = prop_oneof![Just(None), Just(Some(ANSWER.into())), Just(Some(b"junk".to_vec()))];
    let side = prop_oneof![Just(Side::A), Just(Side::B), Just(Side::C)];
    let ringing = prop_oneof![Just(Ringing::Agent), Just(Ringing::Ringback)];
    prop_oneof![
        4 => (side, ringing).prop_map(|(side, ringing)| Event::Asked(order(side, ringing))),
        2 => (prop_oneof![Just(Side::A), Just(Side::B)], any::<bool>()).prop_map(|(side, waits)| {
            let unreported = if waits { transfer::Unreported::Wait } else { transfer::Unreported::HangUp };
            Event::Asked(refers::referring(side, unreported))
        }),
        1 => any::<bool>().prop_map(|reported| Event::ReferAccepted { reported }),
        1 => Just(Event::ReferRefused { status: 403, reason: "Forbidden".into() }),
        2 => (prop_oneof![Just(100u16), Just(180), Just(200), Just(486)], any::<bool>()).prop_map(|(status, ends)| {
            Event::ReferNews(voxlane::sip::News {
                progress: Some(voxlane::sip::Progress::of(status)),
                ended: ends.then(String::new),
            })
        }),
        1 => Just(Event::TakenBack),
        1 => Just(Event::Due),
        1 => Just(Event::Progress),
        3 => sdp.prop_map(|sdp| Event::Answered { sdp }),
        2 => Just(Event::Failed {
            status: 486,
            reason: "Busy Here".into(),
            failure: Failure::refused(),
        }),
    ]
}

/// Whether an event can come, given which dialogs there are; notes which of them it ends.
fn is_possible(world: &mut World, event: &Event) -> bool {
    let [a, b, c] = &mut world.dialogs;
    let gone = |dialog: &mut bool| std::mem::replace(dialog, false);
    match event {
        Event::Progress { .. } | Event::Answered { .. } => *b,
        Event::Failed { .. } => gone(b),
        Event::Cancelled => gone(a),
        Event::Reinvite { side, .. } | Event::Update { side, .. } => world.dialogs[*side as usize],
        Event::Bye { side, .. } => gone(&mut world.dialogs[*side as usize]),
        Event::Transfer(transfer::Event::Progress | transfer::Event::Answered { .. }) => *c,
        Event::Transfer(transfer::Event::Failed { .. }) => gone(c),
        _ => true,
    }
}

proptest! {
    /// Whatever happens in whatever order: media is closed exactly once, and once both dialogs are gone the call is
    /// finished, exactly once, as its last act.
    #[test]
    fn no_leg_is_left_behind(
        trunk: bool,
        offer: bool,
        placed: bool,
        events in prop::collection::vec(any_event(), 0..20),
        up: bool,
        fallback in any_fallback(),
    ) {
        let plan = if trunk { trunk_plan() } else { agent_plan(true) };
        let mut call = if placed { placed_call() } else { call(plan, offer.then_some(OFFER)) };
        let mut world = World::new([!placed, false, false], fallback);
        world.perform(call.on(Event::Start, Time::ZERO));
        // Transfers begin with a call that is up, which chance seldom comes to.
        let sdp = || Some(ANSWER.into());
        let way_up = [
            opened(Side::A),
            if trunk { located(&["192.0.2.2:5060"]) } else { Event::Resolved(vec![address("192.0.2.2:5060")]) },
            opened(Side::B),
            if trunk { Event::Answered { sdp: sdp() } } else { Event::AgentReady },
            Event::Confirmed { side: Side::A, sdp: sdp().filter(|_| !offer) },
        ];
        let way_up = way_up.into_iter().filter(|event| trunk || !matches!(event, Event::MediaOpened { side: Side::B, .. }));
        let way_up: Vec<Event> = match (up, placed) {
            (false, _) => Vec::new(),
            (true, false) => way_up.collect(),
            (true, true) => transfers::way_up_of_placed().into(),
        };
        for event in way_up {
            world.replies.clear();
            world.perform(call.on(event, Time::ZERO));
        }
        prop_assert!(!up || call.phase() == Phase::Up);
        for event in events.into_iter().chain([Event::Stop { text: "end of test".into() }]) {
            while let Some(reply) = world.replies.pop() {
                if let Event::Terminated { side, .. } = reply
                    && !std::mem::replace(&mut world.dialogs[side as usize], false)
                {
                    continue;
                }
                world.perform(call.on(reply, Time::ZERO));
            }
            if world.finished == 1 {
                break;
            }
            if is_possible(&mut world, &event) {
                world.perform(call.on(event, Time::from_micros(60_000_000)));
            }
        }
        while let Some(reply) = world.replies.pop() {
            if world.finished == 0 {
                world.perform(call.on(reply, Time::ZERO));
            }
        }
        prop_assert_eq!(world.finished, 1);
        prop_assert_eq!(world.media, [false; 3]);
        prop_assert_eq!(call.phase(), Phase::Ended);
    }
}
