//! How an endpoint goes from one carrier to another while media flows.
//!
//! Nothing is lost on the way, because at every moment the packets of its ports have exactly one place to go: a socket,
//! where they wait for whoever reads it next, or the kernel lane. And nothing is told twice, because whoever takes over is
//! given all that its predecessor knew: who owns the flows, what was counted, the stream that was sent.
//!
//! **From a worker to the kernel lane**
//! 1. The worker works off the sockets of the pair and lets go: packets wait in the sockets. It says what it knows.
//! 2. The kernel lane is programmed with that: from here on packets are its own.
//! 3. The worker sends on what has waited, and its sockets are closed. What it has counted last is added.
//!
//! If the kernel lane refuses, the worker goes on instead of 3. A packet that came between 1 and 2 is sent on in 3: after one
//! that came after 2 only if the machine stands still in between for as long as a packet lasts.
//!
//! **From the kernel lane to a worker**
//! 1. Sockets are bound to the ports; the kernel lane still has the packets.
//! 2. The kernel lane lets go: packets wait in the sockets. It says what it knows.
//! 3. A worker is given the sockets and that.
//!
//! **From an agent to a relay and back** the sockets themselves change hands. A pair one of whose legs had an agent begins
//! in a worker and moves to the kernel lane from there, so that there is one way into it. What the leg is sent is one
//! stream from then on, whoever sends it.
//!
//! A leg that is left alone has a socket to hold its ports, which nobody reads; what has come in meanwhile is thrown away
//! when it is carried again: media that nobody was there for.

use voxlane_common::splice::Continuity;

use super::endpoints::Carrier;
use super::kernel::KernelLeg;
use super::{Plane, State};
use crate::flows::LegState;
use crate::lane::{self, Lane, Reason};
use crate::media_plane::{AgentSpec, EndpointId, MediaError, Recording, Session};
use crate::worker::{Handle, Left, NewLeg, NewRelay, Parting, RelayLeg, Sockets};

/// What is left when a worker has ended something.
#[derive(Default)]
pub(super) struct Ended {
    /// What the softphone recorded, if it was one.
    pub(super) recording: Option<Recording>,
    /// Of a pair: what is known of the other leg.
    pub(super) of_peer: Option<Left>,
}

/// The sockets of two legs that were relayed to each other, and what is known of them, if anything is.
type Taken = ([Sockets; 2], Option<[LegState; 2]>);

/// How two endpoints stand to each other.
enum Joint {
    /// A worker relays between them.
    Worker,
    /// The kernel lane does.
    Kernel,
    /// They have nothing to do with each other, and nobody has sent them anything.
    Fresh,
    /// They have nothing to do with each other.
    Apart,
}

impl Plane {
    /// Joins two endpoints, again if they are joined, in the best lane they can have.
    pub(super) fn join(&self, state: &mut State, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError> {
        let ids = [a, b];
        let sessions = [state.endpoints.session(a)?.clone(), state.endpoints.session(b)?.clone()];
        let [session_a, session_b] = &sessions;
        let wanted = match lane::difference(session_a, session_b) {
            None => self.lane_for(state, ids, &sessions)?,
            Some(reason) => {
                for endpoint in ids {
                    // From here on it is sent the gateway's own stream.
                    state.endpoints.get_mut(endpoint)?.continuity = Continuity::Spliced;
                }
                Err(reason)
            }
        };
        let taken = match (wanted, joint(state, a, b)?) {
            (Ok(()), Joint::Kernel | Joint::Fresh) => self.program_kernel(state, ids, &sessions, None)?,
            (Ok(()), Joint::Worker) => self.move_to_kernel(state, ids, &sessions)?,
            (Ok(()), Joint::Apart) => {
                // Nobody sees this reason unless the kernel lane refuses, and then it is replaced.
                self.join_in_worker(state, ids, &sessions, Reason::FlowTable)?;
                self.move_to_kernel(state, ids, &sessions)?
            }
            (Err(reason), _) => Err(reason),
        };
        let lane = match taken {
            Ok(()) => Lane::Kernel,
            Err(reason) => {
                self.join_in_worker(state, ids, &sessions, reason)?;
                Lane::Worker
            }
        };
        for (endpoint, session) in ids.into_iter().zip(&sessions) {
            let row = state.endpoints.get_mut(endpoint)?;
            row.told = Some(session.remote());
            (row.left, row.unheard) = (None, None);
        }
        state.endpoints.pair_up(a, b)?;
        self.follow(state, &ids);
        Ok([lane; 2])
    }

    /// Gives an endpoint to an agent, whoever carries it.
    pub(super) fn give_to_agent(
        &self,
        state: &mut State,
        endpoint: EndpointId,
        agent: AgentSpec,
    ) -> Result<(), MediaError> {
        let peer = state.endpoints.get(endpoint)?.peer;
        let sockets = self.let_go(state, endpoint)?;
        let row = state.endpoints.get_mut(endpoint)?;
        let mut left = row.left.take();
        if row.has_moved()
            && let Some(left) = &mut left
        {
            left.received.open_latches();
        }
        let unheard = row.unheard.take();
        row.told = row.session.as_ref().map(Session::remote);
        let session = row.session.clone();
        let handle = self.workers.add_leg(NewLeg {
            endpoint,
            sockets,
            agent,
            session,
            left,
            unheard,
        });
        self.kernel.steer(state.endpoints.get(endpoint)?.local, handle.worker());
        state.endpoints.insert_agent(endpoint, handle)?;
        self.follow(state, &[Some(endpoint), peer].into_iter().flatten().collect::<Vec<_>>());
        Ok(())
    }

    /// Ends what a worker carries: a pair, of which an endpoint is the `side` that is closed, or an agent's leg.
    pub(super) fn end(&self, handle: Handle, side: Option<usize>) -> Ended {
        match side {
            Some(side) => Ended {
                recording: None,
                of_peer: self.workers.finish(handle, Parting::Over).map(|parted| {
                    let [first, second] = Left::of_pair(parted.states);
                    if side == 0 { second } else { first }
                }),
            },
            None => Ended {
                recording: self.workers.remove(handle).recording,
                of_peer: None,
            },
        }
    }

    /// Whether the pair belongs in the kernel lane; if not, why.
    fn lane_for(
        &self,
        state: &State,
        [a, b]: [EndpointId; 2],
        sessions: &[Session; 2],
    ) -> Result<Result<(), Reason>, MediaError> {
        let (row_a, row_b) = (state.endpoints.get(a)?, state.endpoints.get(b)?);
        let legs = [(row_a.local, &sessions[0]), (row_b.local, &sessions[1])];
        let addresses = legs.map(|(local, session)| [local, session.remote_rtp]);
        Ok(lane::for_relay(addresses, self.kernel.unavailable(), row_a.requested)
            .and_then(|()| lane::for_media(sessions))
            .and_then(|()| self.kernel.reaches(legs)))
    }

    /// Tells the kernel lane of a pair; the inner error is why it does not take it. `states` is what another lane knew.
    fn program_kernel(
        &self,
        state: &mut State,
        ids: [EndpointId; 2],
        sessions: &[Session; 2],
        states: Option<[LegState; 2]>,
    ) -> Result<Result<(), Reason>, MediaError> {
        let leg = |index: usize| {
            let row = state.endpoints.get(ids[index])?;
            Ok::<_, MediaError>(KernelLeg {
                local: row.local,
                session: &sessions[index],
                continuity: row.continuity,
            })
        };
        let legs = [leg(0)?, leg(1)?];
        let locals = legs.map(|leg| leg.local);
        let programmed = self.kernel.program(legs, states);
        for (endpoint, local) in ids.into_iter().zip(locals) {
            match programmed {
                Ok(()) => {
                    // Sockets that held its ports are closed by this.
                    state.endpoints.get_mut(endpoint)?.carrier = Carrier::Kernel;
                    tracing::debug!(?endpoint, %local, "relayed in the kernel lane");
                }
                // Whatever it has tried: the ports are sockets' again, unless it has them still.
                Err(_) if self.kernel.states(local).is_none() => self.kernel.reserve(local),
                Err(_) => {}
            }
        }
        Ok(programmed)
    }

    /// Moves a pair from its worker to the kernel lane; the inner error is why it stays.
    fn move_to_kernel(
        &self,
        state: &mut State,
        ids: [EndpointId; 2],
        sessions: &[Session; 2],
    ) -> Result<Result<(), Reason>, MediaError> {
        let [a, b] = ids;
        let locals = [state.endpoints.get(a)?.local, state.endpoints.get(b)?.local];
        let Some((handle, side)) = state.endpoints.pair_of(a, b) else {
            return Ok(Err(Reason::FlowTable));
        };
        // What a re-INVITE has made void is forgotten by whoever learned it.
        self.workers
            .set_relay_sessions(handle, in_order(side, sessions.clone()));
        let worker = handle.worker();
        self.kernel.steer_back(&locals);
        let Some(before) = self.workers.hand_over(handle).map(|states| in_order(side, states)) else {
            return Ok(Err(Reason::FlowTable));
        };
        let Some(resident) = state.endpoints.get(a)?.carrier.resident() else {
            return Ok(Err(Reason::FlowTable));
        };
        let programmed = self.program_kernel(state, ids, sessions, Some(before))?;
        match programmed {
            Err(_) => {
                if let Some(handle) = state.endpoints.handle(resident) {
                    self.workers.resume(handle);
                    self.steer(state, ids, worker)?;
                }
            }
            Ok(()) => {
                let handle = state.endpoints.take_handle(resident);
                let parted = handle.and_then(|handle| self.workers.finish(handle, Parting::GoesOn));
                let after = parted.map_or(before, |parted| in_order(side, parted.states));
                for (endpoint, (before, after)) in ids.into_iter().zip(before.iter().zip(&after)) {
                    let local = state.endpoints.get(endpoint)?.local;
                    self.kernel.add_late(local, before, after);
                }
            }
        }
        Ok(programmed)
    }

    /// Makes a worker relay between two endpoints, whoever carries them; if one does that already, tells it what was agreed.
    fn join_in_worker(
        &self,
        state: &mut State,
        ids: [EndpointId; 2],
        sessions: &[Session; 2],
        reason: Reason,
    ) -> Result<(), MediaError> {
        let [a, b] = ids;
        if let Some((handle, side)) = state.endpoints.pair_of(a, b) {
            self.workers
                .set_relay_sessions(handle, in_order(side, sessions.clone()));
            state.endpoints.set_reason(ids, reason);
            return Ok(());
        }
        let (sockets, mut states) = if state.endpoints.are_in_kernel(a, b) {
            self.take_from_kernel(state, ids)?
        } else {
            let sockets = [self.let_go(state, a)?, self.let_go(state, b)?];
            (sockets, self.take_up(state, ids)?)
        };
        if state.endpoints.get(a)?.has_moved() || state.endpoints.get(b)?.has_moved() {
            states.iter_mut().flatten().for_each(LegState::open_latches);
        }
        let [sockets_a, sockets_b] = sockets;
        let leg = |endpoint, sockets, session: &Session| {
            Ok::<_, MediaError>(RelayLeg {
                endpoint,
                sockets,
                session: session.clone(),
                continuity: state.endpoints.get(endpoint)?.continuity,
            })
        };
        let handle = self.workers.add_relay(NewRelay {
            legs: [leg(a, sockets_a, &sessions[0])?, leg(b, sockets_b, &sessions[1])?],
            rules: self.rules,
            states,
        });
        self.steer(state, ids, handle.worker())?;
        state.endpoints.insert_pair(ids, handle, reason)
    }

    /// Lets a worker have the packets of two endpoints by its AF_XDP sockets, too.
    fn steer(&self, state: &State, ids: [EndpointId; 2], worker: usize) -> Result<(), MediaError> {
        for endpoint in ids {
            self.kernel.steer(state.endpoints.get(endpoint)?.local, worker);
        }
        Ok(())
    }

    /// Takes a pair out of the kernel lane; its packets wait in the sockets from then on.
    fn take_from_kernel(&self, state: &State, [a, b]: [EndpointId; 2]) -> Result<Taken, MediaError> {
        let locals = [state.endpoints.get(a)?.local, state.endpoints.get(b)?.local];
        let sockets = [self.bind(locals[0])?, self.bind(locals[1])?];
        Ok((sockets, self.kernel.hand_back(locals[0])))
    }

    /// What a new pair goes on from; nothing if nothing is known of either leg. A leg that has been sent something is sent
    /// one stream from now on.
    fn take_up(&self, state: &mut State, ids: [EndpointId; 2]) -> Result<Option<[LegState; 2]>, MediaError> {
        let mut known = [None, None];
        for (known, endpoint) in known.iter_mut().zip(ids) {
            let row = state.endpoints.get_mut(endpoint)?;
            *known = row.left;
            if row.left.is_some_and(|left| left.sent.has_begun()) {
                row.continuity = Continuity::Spliced;
            }
        }
        if known.iter().all(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(Left::paired(known.map(Option::unwrap_or_default))))
    }

    /// Takes an endpoint from whoever carries it; what is known of it stays in its row. Its ports are its sockets' from then
    /// on. If it was relayed, so are those of the other leg, which is left alone.
    fn let_go(&self, state: &mut State, endpoint: EndpointId) -> Result<Sockets, MediaError> {
        self.keep_report(state, endpoint)?;
        let peer = state.endpoints.get(endpoint)?.peer;
        if let Some(peer) = peer
            && let Some(taken) = self.take_pair(state, [endpoint, peer])?
        {
            let ([here, there], states) = taken;
            let [left, of_peer] = states.map(Left::of_pair).map_or([None; 2], |left| left.map(Some));
            let row = state.endpoints.get_mut(peer)?;
            row.carrier = Carrier::Nobody(Some(there));
            (row.left, row.peer) = (of_peer, None);
            let row = state.endpoints.get_mut(endpoint)?;
            row.carrier = Carrier::Nobody(None);
            row.left = left;
            return Ok(here);
        }
        let row = state.endpoints.get_mut(endpoint)?;
        let local = row.local;
        let sockets = match std::mem::replace(&mut row.carrier, Carrier::Nobody(None)) {
            Carrier::Nobody(sockets) => {
                sockets.iter().for_each(Sockets::empty);
                sockets
            }
            Carrier::Agent { resident, .. } => {
                self.kernel.steer_back(&[local]);
                let handle = state.endpoints.take_handle(resident);
                let released = handle.and_then(|handle| self.workers.release(handle));
                let row = state.endpoints.get_mut(endpoint)?;
                released.map(|released| {
                    (row.left, row.unheard) = (released.left, released.unheard);
                    released.sockets
                })
            }
            // Its other leg is gone, and with it whoever carried the two.
            Carrier::Pair { .. } => None,
            Carrier::Kernel => {
                self.kernel.remove(local);
                None
            }
        };
        let sockets = match sockets {
            Some(sockets) => sockets,
            None => self.bind(local)?,
        };
        self.kernel.reserve(local);
        Ok(sockets)
    }

    /// Takes a pair from whoever relays it, if anybody does.
    fn take_pair(&self, state: &mut State, ids: [EndpointId; 2]) -> Result<Option<Taken>, MediaError> {
        let [endpoint, peer] = ids;
        match joint(state, endpoint, peer)? {
            Joint::Kernel => {
                self.keep_report(state, peer)?;
                self.take_from_kernel(state, ids).map(Some)
            }
            Joint::Worker => {
                self.keep_report(state, peer)?;
                let (row, other) = (state.endpoints.get(endpoint)?, state.endpoints.get(peer)?);
                self.kernel.steer_back(&[row.local, other.local]);
                let (side, resident) = (row.side().unwrap_or_default(), row.carrier.resident());
                let handle = resident.and_then(|id| state.endpoints.take_handle(id));
                let parted = handle.and_then(|handle| self.workers.finish(handle, Parting::GoesOn));
                Ok(parted.map(|parted| (in_order(side, parted.sockets), Some(in_order(side, parted.states)))))
            }
            Joint::Fresh | Joint::Apart => Ok(None),
        }
    }

    /// Remembers what is to be said of an endpoint now, for when nobody carries it.
    fn keep_report(&self, state: &mut State, endpoint: EndpointId) -> Result<(), MediaError> {
        let last = self.report(&state.endpoints, endpoint, state.endpoints.get(endpoint)?);
        state.endpoints.get_mut(endpoint)?.last = last;
        Ok(())
    }
}

/// How two endpoints stand to each other.
fn joint(state: &State, a: EndpointId, b: EndpointId) -> Result<Joint, MediaError> {
    if state.endpoints.are_in_kernel(a, b) {
        return Ok(Joint::Kernel);
    }
    if state.endpoints.pair_of(a, b).is_some() {
        return Ok(Joint::Worker);
    }
    for endpoint in [a, b] {
        let row = state.endpoints.get(endpoint)?;
        if !matches!(row.carrier, Carrier::Nobody(Some(_))) || row.left.is_some() {
            return Ok(Joint::Apart);
        }
    }
    Ok(Joint::Fresh)
}

/// The legs of a worker's pair, of which the first is `side`, in the order of their endpoints; or the other way round.
fn in_order<T>(side: usize, [first, second]: [T; 2]) -> [T; 2] {
    match side {
        0 => [first, second],
        _ => [second, first],
    }
}
