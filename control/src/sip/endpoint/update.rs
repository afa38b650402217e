//! UPDATEs of the other side (RFC 3311 section 5.2).

use super::super::api::DialogId;
use super::super::dialog::{Asked, State, Terms};
use super::super::syntax::Request;
use super::super::transaction::{Path, Transaction};
use super::Endpoint;
use super::purpose::Refusal;
use crate::time::Time;

impl Endpoint {
    /// UPDATE: without an offer it is answered at once, with one by the call layer.
    pub(super) fn on_update(&mut self, now: Time, path: Path, request: &Request, id: DialogId, sdp: Option<Vec<u8>>) {
        let Some(dialog) = self.dialogs.get(id) else { return };
        let terms = match Self::terms(&dialog.policy, request) {
            Ok(terms) => terms,
            Err(refusal) => return self.refuse(now, path, request, refusal, Some(id)),
        };
        self.note(id, path, request);
        let asked = self.ask_of_theirs(path, request, id, terms);
        match sdp {
            None => self.accept(now, id, asked, None),
            Some(sdp) => self.tell_of_offer(id, asked, sdp),
        }
    }

    /// Accepts what [`Event::Update`] told of, with this SDP answer.
    pub fn answer_update(&mut self, now: Time, dialog: DialogId, sdp: Vec<u8>) {
        let asked = self.dialogs.get_mut(dialog).and_then(|dialog| dialog.asked.take());
        if let Some(asked) = asked {
            self.accept(now, dialog, *asked, Some(sdp));
        }
    }

    /// Refuses what [`Event::Update`] told of, with a status of 300-699: the session goes on as it was.
    pub fn reject_update(&mut self, now: Time, dialog: DialogId, status: u16, headers: &[(&str, &str)]) {
        let status = if (300..=699).contains(&status) { status } else { 500 };
        let asked = self.dialogs.get_mut(dialog).and_then(|dialog| dialog.asked.take());
        if let Some(asked) = asked {
            let response = self.plain(&asked.reply, status, "", headers);
            self.respond_within(now, &asked, response);
            self.ring_on(now, dialog);
        }
    }

    /// 200 to a request within a dialog that may change its session.
    fn accept(&mut self, now: Time, id: DialogId, asked: Asked, sdp: Option<Vec<u8>>) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        if let Some(target) = &asked.target {
            dialog.identity_mut(asked.fork.as_deref()).retarget(target.clone());
        }
        if let Some(sdp) = &sdp {
            dialog.ours.clone_from(sdp);
        }
        let policy = dialog.policy;
        let is_up = matches!(dialog.state, State::Up(_));
        let headers = asked.terms.as_ref().map(Terms::headers).unwrap_or_default();
        let response = self.accepting(&asked.reply, 200, "", sdp.as_deref(), &policy, &headers);
        self.respond_within(now, &asked, response);
        // Before the call is answered there is no session to expire.
        if is_up {
            self.on_terms_given(now, id, asked.terms);
        }
        // It may have been in a PRACK.
        self.ring_on(now, id);
    }

    pub(super) fn respond_within(&mut self, now: Time, asked: &Asked, response: Vec<u8>) {
        let Some(entry) = self.transactions.get_mut(asked.transaction) else {
            return;
        };
        match &mut entry.transaction {
            Transaction::Server(server) => {
                server.respond(&mut self.shared.transaction(now, asked.transaction), response);
            }
            Transaction::ServerInvite(_) | Transaction::ClientInvite(_) | Transaction::Client(_) => {}
        }
    }

    /// The dialog ends: a request of theirs that waits is not left without an answer.
    pub(super) fn end_asked(&mut self, now: Time, id: DialogId) {
        self.reject_update(now, id, 487, &[]);
    }

    /// Whether an offer of theirs by UPDATE has to wait for what is under way (RFC 3311 section 5.2).
    pub(super) fn refusal_of_update(state: &State, tag: Option<&str>, has_offer: bool) -> Option<Refusal> {
        match (state, has_offer) {
            (State::Ending(_), _) => Some(Refusal::NoDialog),
            (_, false) => None,
            // Our INVITE's offer has no answer yet; theirs has none.
            (State::Calling(calling), true) => {
                let fork = calling.forks.iter().find(|fork| fork.identity.is_from(tag));
                let is_settled = fork.is_some_and(|fork| fork.answer.is_some());
                (!is_settled).then_some(Refusal::Pending)
            }
            (State::Ringing(ringing), true) if ringing.reliably.settled => None,
            (State::Ringing(_), true) => Some(Refusal::StillAnswering),
            (State::Up(up), true) if up.pending.is_some() => Some(Refusal::StillAnswering),
            (State::Up(up), true) if up.is_offering() => Some(Refusal::Pending),
            // The offer was ours, and its answer is to be in the ACK.
            (State::Up(up), true) if up.unacked.as_ref().is_some_and(|unacked| unacked.offers) => {
                Some(Refusal::Pending)
            }
            (State::Up(_), true) => None,
        }
    }
}
