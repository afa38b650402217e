//! Calls that come in: INVITE, how it is rung, answered, rejected, and taken back (RFC 3261 sections 9.2, 13.3).

use std::time::Duration;

use super::super::api::{Address, DialogId, Event, Incoming, Privacy};
use super::super::dialog::{
    AfterAck, Dialog, Identity, Pending, Reliability, Reliably, Reply, Ringing, State, Terms, Unacked, Up,
};
use super::super::syntax::{NameAddr, Request};
use super::super::transaction::{Path, Timer, Transaction, TransactionId};
use super::Endpoint;
use super::purpose::{Refusal, unknown};
use crate::time::Time;

/// How often an unanswered INVITE's provisional response is repeated (RFC 3261 section 13.3.1.1).
const RINGING_INTERVAL: Duration = Duration::from_secs(60);

impl Endpoint {
    /// Sends a provisional response, 101-199, to an unanswered INVITE.
    pub fn ring(&mut self, now: Time, dialog: DialogId, status: u16, sdp: Option<Vec<u8>>) {
        let Some(Dialog {
            identity,
            policy,
            state: State::Ringing(ringing),
            ..
        }) = self.dialogs.get(dialog)
        else {
            return;
        };
        if !(101..=199).contains(&status) {
            tracing::warn!(dialog = dialog.0, status, "not a provisional status: not sent");
            return;
        }
        let reliably = match (ringing.reliably.wanted, &sdp) {
            (Reliability::Required, _) | (Reliability::Possible, Some(_)) => true,
            (Reliability::Possible, None) | (Reliability::Off, _) => false,
        };
        if reliably {
            self.ring_reliably(now, dialog, status, sdp.clone());
            return self.rings(now, dialog, status, sdp);
        }
        let response = self.accepting(
            &ringing.pending.reply,
            status,
            &identity.local_tag,
            sdp.as_deref(),
            policy,
            &[],
        );
        let invite = ringing.pending.invite;
        self.respond(now, invite, status, response);
        self.rings(now, dialog, status, sdp);
    }

    /// Keeps a provisional response to be repeated while it rings.
    fn rings(&mut self, now: Time, dialog: DialogId, status: u16, sdp: Option<Vec<u8>>) {
        if let Some(Dialog {
            state: State::Ringing(ringing),
            ..
        }) = self.dialogs.get_mut(dialog)
        {
            ringing.provisional = Some((status, sdp));
        }
        self.shared.dialog(now, dialog).arm(Timer::Ringing, RINGING_INTERVAL);
    }

    /// Sends 200 to an unanswered INVITE or re-INVITE, again and again until its ACK comes: then [`Event::Confirmed`]
    /// follows, or [`Event::Terminated`] if it never does.
    pub fn answer(&mut self, now: Time, dialog: DialogId, sdp: Vec<u8>) {
        let Some(Dialog {
            identity,
            policy,
            ours,
            state,
            ..
        }) = self.dialogs.get_mut(dialog)
        else {
            return;
        };
        let tag = identity.local_tag.clone();
        let policy = *policy;
        let (mut settled, mut overtaken) = (false, None);
        let pending = match state {
            State::Ringing(Ringing { pending, reliably, .. }) => {
                // Its PRACK has to come before (RFC 3262 section 3).
                if reliably.waiting.as_ref().is_some_and(|waiting| waiting.has_sdp) {
                    reliably.held = Some(sdp);
                    return;
                }
                settled = reliably.settled;
                overtaken = reliably
                    .waiting
                    .as_ref()
                    .and(reliably.rseq)
                    .map(|rseq| (rseq, pending.cseq));
                pending.clone()
            }
            State::Up(up) => match up.pending.take() {
                Some(pending) => pending,
                None => return,
            },
            State::Calling(_) | State::Ending(_) => return,
        };
        identity.retarget(pending.target);
        // What was agreed reliably stands (RFC 3261 section 13.2.1).
        let sdp = Some(sdp).filter(|_| !settled);
        if let Some(sdp) = &sdp {
            ours.clone_from(sdp);
        }
        let headers = pending.terms.as_ref().map(Terms::headers).unwrap_or_default();
        let response = self.accepting(&pending.reply, 200, &tag, sdp.as_deref(), &policy, &headers);
        self.respond(now, pending.invite, 200, response.clone());
        let interval = self.shared.timings.t1;
        let patience = self.shared.timings.patience();
        let unacked = Unacked {
            cseq: pending.cseq,
            offers: pending.wants_offer && !settled,
            path: pending.reply.path,
            response,
            interval,
            then: AfterAck::Stay,
        };
        match self.dialogs.get_mut(dialog).map(|dialog| &mut dialog.state) {
            Some(State::Up(up)) => up.unacked = Some(unacked),
            Some(state) => {
                *state = State::Up(Up {
                    unacked: Some(unacked),
                    provisional: overtaken,
                    ..Up::default()
                });
            }
            None => {}
        }
        let mut cx = self.shared.dialog(now, dialog);
        cx.disarm(Timer::Ringing);
        cx.disarm(Timer::Provisional);
        cx.disarm(Timer::NoPrack);
        cx.arm(Timer::Answer, interval);
        cx.arm(Timer::NoAck, patience);
        self.on_terms_given(now, dialog, pending.terms);
    }

    /// Sends a final refusal, 300-699, to an unanswered INVITE, whose dialog is then gone (no event follows), or to a
    /// re-INVITE, whose dialog goes on as before.
    pub fn reject(&mut self, now: Time, dialog: DialogId, status: u16, headers: &[(&str, &str)]) {
        let status = if (300..=699).contains(&status) { status } else { 500 };
        let Some(Dialog { identity, state, .. }) = self.dialogs.get_mut(dialog) else {
            return;
        };
        let tag = identity.local_tag.clone();
        let (pending, gone) = match state {
            State::Ringing(ringing) => (ringing.pending.clone(), true),
            State::Up(up) => match up.pending.take() {
                Some(pending) => (pending, false),
                None => return,
            },
            State::Calling(_) | State::Ending(_) => return,
        };
        let response = self.plain(&pending.reply, status, &tag, headers);
        self.respond(now, pending.invite, status, response);
        if gone {
            self.forget(dialog);
        }
    }

    /// A call that may proceed.
    pub(super) fn on_new_call(
        &mut self,
        now: Time,
        path: Path,
        request: &Request,
        trunk: Option<String>,
        sdp: Option<Vec<u8>>,
    ) {
        let policy = self.policy(trunk.as_deref());
        let extensions = match unknown(request, &policy) {
            Some(refusal) => Err(refusal),
            None => Self::reliability(&policy, &request.fields)
                .and_then(|reliability| Ok((reliability, Self::terms(&policy, request)?)))
                .and_then(|(reliability, terms)| {
                    Ok((reliability, terms, self.replaced(request, trunk.as_deref(), &policy)?))
                }),
        };
        let (reliability, terms, replaces) = match extensions {
            Ok(extensions) => extensions,
            Err(refusal) => return self.refuse(now, path, request, refusal, None),
        };
        self.intake.begins(now);
        let reply = Reply::new(request, path);
        let dialog = self.dialogs.next_id();
        let invite = self.start_invite(request, reply.path, Some(dialog));
        let trying = self.trying(&reply);
        self.respond(now, invite, 100, trying);
        let identity = Identity::incoming(request, self.ids.tag(), path);
        let target = request
            .contact
            .as_ref()
            .map_or_else(String::new, |c| c.uri.as_str().to_owned());
        let pending = Pending {
            invite,
            reply,
            cseq: request.cseq,
            target,
            terms,
            wants_offer: sdp.is_none(),
        };
        let state = State::Ringing(Ringing {
            pending,
            provisional: None,
            reliably: Reliably {
                wanted: reliability,
                ..Reliably::default()
            },
        });
        let mut begun = Dialog::new(identity, trunk.clone(), policy, state);
        begun.hear(&request.fields);
        begun.describe(sdp.as_deref().unwrap_or_default());
        self.dialogs.insert(dialog, begun);
        let server_name = self.server_name(path).map(str::to_owned);
        self.tell(Event::Incoming(Box::new(Incoming {
            dialog,
            local: path.local,
            remote: path.remote,
            transport: path.transport,
            server_name,
            // What is called is our Contact: the number is in To.
            request_uri: match self.contacts.contains_key(&request.uri.user) {
                true => Address {
                    display: String::new(),
                    ..request.to.address()
                },
                false => request.uri.address(String::new()),
            },
            from: request.from.address(),
            to: request.to.address(),
            asserted: request.fields.asserted.as_deref().and_then(asserted),
            privacy: request.fields.privacy.as_deref().map_or(Privacy::None, privacy),
            call_id: request.call_id.clone(),
            max_forwards: request.max_forwards(),
            trunk,
            replaces,
            sdp,
        })));
    }

    /// Repeats the provisional response of a call that rings for long.
    pub(super) fn ring_again(&mut self, now: Time, dialog: DialogId) {
        let Some(Dialog {
            state: State::Ringing(ringing),
            ..
        }) = self.dialogs.get(dialog)
        else {
            return;
        };
        if let Some((status, sdp)) = ringing.provisional.clone() {
            self.ring(now, dialog, status, sdp);
        }
    }

    /// CANCEL: 200, and 487 to the INVITE if that is not answered. A re-INVITE taken back is no event: its dialog goes on
    /// as before, and an answer to it that crosses the CANCEL is dropped.
    pub(super) fn on_cancel(&mut self, now: Time, path: Path, request: &Request, invite: Option<TransactionId>) {
        let reply = Reply::new(request, path);
        let Some(invite) = invite else {
            let tag = self.tag_outside(path, request);
            let response = self.refusal(&reply, &Refusal::NoDialog, &tag);
            self.finish_outside(now, &reply, request, Refusal::NoDialog.status(), response);
            return;
        };
        let entry = self.transactions.get(invite);
        let unanswered =
            matches!(entry.map(|e| &e.transaction), Some(Transaction::ServerInvite(i)) if i.is_proceeding());
        let dialog = entry.and_then(|entry| entry.dialog);
        let tag = match dialog.and_then(|id| self.dialogs.get(id)) {
            Some(dialog) => dialog.identity.local_tag.clone(),
            None => self.ids.tag(),
        };
        let response = self.plain(&reply, 200, &tag, &[]);
        self.finish(now, request, reply.path, 200, response);
        let (true, Some(dialog)) = (unanswered, dialog) else {
            return;
        };
        let was_ringing = matches!(
            self.dialogs.get(dialog),
            Some(Dialog {
                state: State::Ringing(_),
                ..
            })
        );
        self.reject(now, dialog, 487, &[]);
        if was_ringing {
            self.tell(Event::Cancelled { dialog });
        }
    }
}

/// The first address of a P-Asserted-Identity.
fn asserted(text: &str) -> Option<Address> {
    let first = super::super::syntax::params::split(text, ',').ok()?;
    NameAddr::parse(first.first()?).ok().map(|address| address.address())
}

/// What a Privacy header asks for (RFC 3323 section 4.2): `header` and `user` hide who calls, too.
fn privacy(text: &str) -> Privacy {
    let mut wishes = text.split(';').map(str::trim);
    match wishes.any(|wish| {
        ["id", "header", "user"]
            .iter()
            .any(|known| wish.eq_ignore_ascii_case(known))
    }) {
        true => Privacy::Id,
        false => Privacy::None,
    }
}
