//! Provisional responses that have to arrive (RFC 3262), in both roles.
//!
//! As the callee we send one at a time and repeat it until its PRACK comes; what follows it waits, an answer too if the
//! provisional response had one. As the caller we acknowledge each, in the order of their RSeq.

use super::super::api::{DialogId, Event, Termination};
use super::super::dialog::{Asked, Asker, Dialog, Provisional, Reliability, Reply, Ringing, State, Terms};
use super::super::policy::{Extension, Policy};
use super::super::syntax::fields::Fields;
use super::super::syntax::{Request, Response};
use super::super::transaction::{Key, Path, Server, Timer, Transaction};
use super::super::within::{Within, WithinMethod};
use super::Endpoint;
use super::purpose::Refusal;
use crate::time::Time;

/// Its option tag.
const TAG: &str = "100rel";

/// Most provisional responses that wait for the one before.
const MAX_QUEUED: usize = 8;

/// What a PRACK acknowledges: RSeq and CSeq number of an INVITE (RFC 3262 section 7.2).
fn rack(fields: &Fields) -> Option<(u32, u32)> {
    let mut words = fields.rack.as_deref()?.split_ascii_whitespace();
    let rseq = words.next()?.parse().ok()?;
    let cseq = words.next()?.parse().ok()?;
    (words.next()? == "INVITE" && words.next().is_none()).then_some((rseq, cseq))
}

impl Endpoint {
    /// Whether provisional responses to an INVITE have to be reliable.
    ///
    /// # Errors
    /// Its sender cannot do what the policy requires.
    pub(super) fn reliability(policy: &Policy, request: &Fields) -> Result<Reliability, Refusal> {
        let has = |tags: &[String]| tags.iter().any(|tag| tag.eq_ignore_ascii_case(TAG));
        match (policy.reliable, has(&request.require), has(&request.supported)) {
            (Extension::Off, _, _) | (Extension::Supported, false, false) => Ok(Reliability::Off),
            (Extension::Required, false, false) => Err(Refusal::ExtensionRequired(TAG)),
            (Extension::Supported, false, true) => Ok(Reliability::Possible),
            (Extension::Supported | Extension::Required, true, _) | (Extension::Required, false, true) => {
                Ok(Reliability::Required)
            }
        }
    }

    /// Sends a provisional response reliably, or has it wait for the one before.
    pub(super) fn ring_reliably(&mut self, now: Time, id: DialogId, status: u16, sdp: Option<Vec<u8>>) {
        let Some(Dialog {
            identity,
            policy,
            ours,
            state: State::Ringing(Ringing { pending, reliably, .. }),
            ..
        }) = self.dialogs.get_mut(id)
        else {
            return;
        };
        // The first reliable response to an INVITE without an offer has to have one (RFC 3261 section 13.2.1). Without one
        // there is nothing that may be sent, and nothing that has to be.
        if pending.wants_offer && sdp.is_none() && !reliably.settled {
            return;
        }
        if reliably.waiting.is_some() {
            if reliably.queue.len() < MAX_QUEUED {
                reliably.queue.push((status, sdp));
            }
            return;
        }
        // What has been answered reliably is not answered again.
        let sdp = sdp.filter(|_| !reliably.settled);
        let rseq = match reliably.rseq {
            Some(last) => last.saturating_add(1),
            None => self.ids.rseq(),
        };
        reliably.rseq = Some(rseq);
        if let Some(sdp) = &sdp {
            ours.clone_from(sdp);
        }
        let (invite, reply) = (pending.invite, pending.reply.clone());
        let (tag, policy) = (identity.local_tag.clone(), *policy);
        let headers = [("Require", TAG.to_owned()), ("RSeq", rseq.to_string())];
        let response = self.accepting(&reply, status, &tag, sdp.as_deref(), &policy, &headers);
        self.respond(now, invite, status, response.clone());
        let interval = self.shared.timings.t1;
        let patience = self.shared.timings.patience();
        if let Some(ringing) = self.ringing_mut(id) {
            ringing.reliably.waiting = Some(Provisional {
                response,
                interval,
                has_sdp: sdp.is_some(),
            });
        }
        let mut cx = self.shared.dialog(now, id);
        cx.arm(Timer::Provisional, interval);
        cx.arm(Timer::NoPrack, patience);
    }

    fn ringing_mut(&mut self, id: DialogId) -> Option<&mut Ringing> {
        match &mut self.dialogs.get_mut(id)?.state {
            State::Ringing(ringing) => Some(ringing),
            State::Calling(_) | State::Up(_) | State::Ending(_) => None,
        }
    }

    /// Repeats a provisional response whose PRACK has not come: at intervals that double (RFC 3262 section 3).
    pub(super) fn ring_reliably_again(&mut self, now: Time, id: DialogId) {
        let Some(ringing) = self.ringing_mut(id) else { return };
        let path = ringing.pending.reply.path;
        let Some(waiting) = &mut ringing.reliably.waiting else {
            return;
        };
        waiting.interval *= 2;
        let (interval, response) = (waiting.interval, waiting.response.clone());
        let mut cx = self.shared.dialog(now, id);
        cx.resend(path, response);
        cx.arm(Timer::Provisional, interval);
    }

    /// Its PRACK never came: the call is refused (RFC 3262 section 3).
    pub(super) fn on_no_prack(&mut self, now: Time, id: DialogId) {
        if self.ringing_mut(id).is_some() {
            self.reject(now, id, 504, &[]);
            self.tell(Event::Terminated {
                dialog: id,
                cause: Termination::NoPrack,
            });
        }
    }

    /// Whether a PRACK acknowledges something that we have sent in this dialog.
    pub(super) fn is_pracked(state: &State, fields: &Fields) -> bool {
        let Some((rseq, cseq)) = rack(fields) else {
            return false;
        };
        match state {
            State::Ringing(Ringing { pending, reliably, .. }) => {
                reliably.waiting.is_some() && reliably.rseq == Some(rseq) && pending.cseq == cseq
            }
            // It was overtaken by our answer.
            State::Up(up) => up.provisional == Some((rseq, cseq)),
            State::Calling(_) | State::Ending(_) => false,
        }
    }

    /// A PRACK that acknowledges what we have sent.
    pub(super) fn on_prack(&mut self, now: Time, path: Path, request: &Request, id: DialogId, sdp: Option<Vec<u8>>) {
        self.note(id, path, request);
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        // Whether the SDP in it answers an offer of ours, and whether it may be an offer of theirs.
        let (is_answer, is_settled) = match &mut dialog.state {
            State::Ringing(Ringing { pending, reliably, .. }) => {
                let had_sdp = reliably.waiting.take().is_some_and(|waiting| waiting.has_sdp);
                let is_answer = had_sdp && pending.wants_offer && !reliably.settled;
                reliably.settled |= had_sdp;
                (is_answer, reliably.settled)
            }
            State::Up(up) => {
                up.provisional = None;
                (false, true)
            }
            State::Calling(_) | State::Ending(_) => return,
        };
        let mut cx = self.shared.dialog(now, id);
        cx.disarm(Timer::Provisional);
        cx.disarm(Timer::NoPrack);
        let asked = self.ask_of_theirs(path, request, id, None);
        let (status, answer) = match sdp {
            Some(sdp) if !is_answer && is_settled => return self.tell_of_offer(id, asked, sdp),
            // The offer of their INVITE has no answer yet.
            Some(_) if !is_answer => (491, None),
            answer => (200, answer),
        };
        let response = self.plain(&asked.reply, status, "", &[]);
        self.respond_within(now, &asked, response);
        if answer.is_some() {
            self.tell(Event::Confirmed {
                dialog: id,
                sdp: answer,
            });
        }
        self.ring_on(now, id);
    }

    /// What waited for a PRACK is sent.
    pub(super) fn ring_on(&mut self, now: Time, id: DialogId) {
        let Some(Ringing { reliably, .. }) = self.ringing_mut(id) else {
            return;
        };
        if let Some(sdp) = reliably.held.take() {
            return self.answer(now, id, sdp);
        }
        if reliably.waiting.is_none() && !reliably.queue.is_empty() {
            let (status, sdp) = reliably.queue.remove(0);
            self.ring_reliably(now, id, status, sdp);
        }
    }

    /// A provisional response of theirs: acknowledged if it is reliable and the next. False: it is not to be looked at.
    pub(super) fn acknowledge_provisional(&mut self, now: Time, id: DialogId, response: &Response) -> bool {
        let fields = &response.fields;
        let is_reliable = fields.require.iter().any(|tag| tag.eq_ignore_ascii_case(TAG));
        let rseq: Option<u32> = fields.rseq.as_deref().and_then(|text| text.trim().parse().ok());
        let (true, Some(rseq)) = (is_reliable, rseq) else {
            return true;
        };
        let tag = response.to.tag().unwrap_or_default();
        let Some(dialog) = self.dialogs.get_mut(id) else {
            return false;
        };
        let is_used = dialog.policy.reliable != Extension::Off;
        let Some(fork) = dialog.fork_mut(tag).filter(|_| is_used) else {
            return true;
        };
        match fork.rseq {
            Some(last) if rseq <= last => {
                self.shared.counters.retransmissions_received += 1;
                return false;
            }
            // One before it is missing, and will be repeated.
            Some(last) if rseq - last > 1 => return false,
            Some(_) | None => fork.rseq = Some(rseq),
        }
        let prack = Within {
            method: WithinMethod::Prack,
            headers: vec![("RAck".to_owned(), format!("{rseq} {} INVITE", response.cseq))],
            content: None,
        };
        self.ask_fork(now, id, Some(tag.to_owned()), prack, Asker::Core);
        true
    }

    /// Begins the transaction of a request of theirs within the dialog that may be answered later than it comes.
    pub(super) fn ask_of_theirs(&mut self, path: Path, request: &Request, id: DialogId, terms: Option<Terms>) -> Asked {
        let reply = Reply::new(request, path);
        let transaction = self.transactions.next_id();
        let keys = vec![Key::server(request, &request.method_text)];
        let server = Transaction::Server(Server::new(reply.path));
        self.transactions.insert(transaction, server, Some(id), keys, None);
        Asked {
            transaction,
            reply,
            fork: request.from.tag().map(str::to_owned),
            target: request.contact.as_ref().map(|contact| contact.uri.as_str().to_owned()),
            terms,
        }
    }

    /// The call layer is told of an offer of theirs.
    pub(super) fn tell_of_offer(&mut self, id: DialogId, asked: Asked, sdp: Vec<u8>) {
        if let Some(dialog) = self.dialogs.get_mut(id) {
            dialog.describe(&sdp);
            dialog.asked = Some(Box::new(asked));
        }
        self.tell(Event::Update { dialog: id, sdp });
    }
}
