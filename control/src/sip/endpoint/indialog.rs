//! Requests of the other side within a dialog, and those we do not serve (RFC 3261 sections 12.2.2, 14.2, 15.1.2).

use super::super::api::{DialogId, Event};
use super::super::dialog::{AfterAck, Calling, Cancel, Dialog, Pending, Reply, State, Up, state::Cause};
use super::super::syntax::Request;
use super::super::transaction::{Path, Timer, Transaction, TransactionId, server_invite::Acked};
use super::Endpoint;
use super::purpose::{Refusal, sdp};
use crate::time::Time;

impl Endpoint {
    pub(super) fn on_ack_of_refusal(&mut self, now: Time, id: TransactionId, request: &Request) {
        let acked = match self.transactions.get_mut(id).map(|entry| &mut entry.transaction) {
            Some(Transaction::ServerInvite(invite)) => invite.on_ack(&mut self.shared.transaction(now, id)),
            Some(Transaction::Server(_) | Transaction::ClientInvite(_) | Transaction::Client(_)) | None => Acked::Stray,
        };
        match acked {
            Acked::Taken => {}
            Acked::Repeated => self.shared.counters.retransmissions_received += 1,
            Acked::Stray => self.shared.counters.stray += 1,
            Acked::Core => match self.acked_dialog(request) {
                Some(dialog) => self.on_ack_of_answer(now, dialog, request),
                None => self.shared.counters.stray += 1,
            },
        }
    }

    pub(super) fn on_ack_of_answer(&mut self, now: Time, id: DialogId, request: &Request) {
        let Some(Dialog {
            state: State::Up(up), ..
        }) = self.dialogs.get_mut(id)
        else {
            self.shared.counters.stray += 1;
            return;
        };
        let Some(unacked) = up.unacked.take_if(|unacked| unacked.cseq == request.cseq) else {
            let seen = up.acked == Some(request.cseq);
            let counters = &mut self.shared.counters;
            *(if seen {
                &mut counters.retransmissions_received
            } else {
                &mut counters.stray
            }) += 1;
            return;
        };
        up.acked = Some(request.cseq);
        let answer = sdp(&request.fields, &request.body);
        let mut cx = self.shared.dialog(now, id);
        cx.disarm(Timer::Answer);
        cx.disarm(Timer::NoAck);
        match unacked.then {
            AfterAck::Stay => self.tell(Event::Confirmed {
                dialog: id,
                sdp: answer,
            }),
            AfterAck::HangUp { reason } => self.hang_up(now, id, reason.as_deref()),
        }
    }

    pub(super) fn on_options(&mut self, now: Time, path: Path, request: &Request, dialog: Option<DialogId>) {
        let reply = Reply::new(request, path);
        let tag = self.tag_outside(path, request);
        match dialog {
            Some(dialog) => {
                self.note(dialog, path, request);
                let response = self.options_answer(&reply, 200, &tag);
                self.finish(now, request, reply.path, 200, response);
            }
            None => {
                let status = self.options_status;
                let response = self.options_answer(&reply, status, &tag);
                self.finish_outside(now, &reply, request, status, response);
            }
        }
    }

    pub(super) fn on_reinvite(&mut self, now: Time, path: Path, request: &Request, id: DialogId, sdp: Option<Vec<u8>>) {
        let Some(dialog) = self.dialogs.get(id) else { return };
        let terms = match Self::terms(&dialog.policy, request) {
            Ok(terms) => terms,
            Err(refusal) => return self.refuse(now, path, request, refusal, Some(id)),
        };
        self.note(id, path, request);
        let reply = Reply::new(request, path);
        let invite = self.start_invite(request, reply.path, Some(id));
        let trying = self.trying(&reply);
        self.respond(now, invite, 100, trying);
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
        if let (Some(dialog), Some(sdp)) = (self.dialogs.get_mut(id), &sdp) {
            dialog.describe(sdp);
        }
        if let Some(Dialog {
            state: State::Up(up), ..
        }) = self.dialogs.get_mut(id)
        {
            up.pending = Some(pending);
        }
        self.tell(Event::Reinvite { dialog: id, sdp });
    }

    /// BYE: 200 in any state of the dialog; requests of theirs that wait are answered 487 (RFC 3261 section 15.1.2).
    pub(super) fn on_bye(&mut self, now: Time, path: Path, request: &Request, id: DialogId) {
        self.note(id, path, request);
        let reply = Reply::new(request, path);
        let response = self.plain(&reply, 200, "", &[]);
        self.finish(now, request, reply.path, 200, response);
        self.end_asked(now, id);
        self.refuse_refer(now, id, 487, &[]);
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        match &mut dialog.state {
            State::Ringing(_) => {
                self.reject(now, id, 487, &[]);
                self.tell(Event::Cancelled { dialog: id });
            }
            State::Up(Up { .. }) => {
                self.reject(now, id, 487, &[]);
                self.abandon_offer(now, id);
                self.forget(id);
                self.tell(Event::Bye {
                    dialog: id,
                    reason: request.fields.reason.clone(),
                });
            }
            // Their 2xx never came through, and they have given up waiting for its ACK.
            State::Calling(Calling { cancel: Cancel::No, .. }) => self.cancel(now, id, Cause::HungUp),
            State::Calling(_) => {}
            // Both hung up; our BYE's answer ends it.
            State::Ending(_) => {}
        }
    }

    pub(super) fn refuse(&mut self, now: Time, path: Path, request: &Request, why: Refusal, dialog: Option<DialogId>) {
        if let Some(dialog) = dialog
            && why != Refusal::OutOfOrder
        {
            self.note(dialog, path, request);
        }
        let reply = Reply::new(request, path);
        let tag = self.tag_outside(path, request);
        let response = self.refusal(&reply, &why, &tag);
        match dialog {
            Some(_) => self.finish(now, request, reply.path, why.status(), response),
            None => self.finish_outside(now, &reply, request, why.status(), response),
        }
    }

    /// Every request in a dialog counts, served or not, and shows where the other side is.
    pub(super) fn note(&mut self, id: DialogId, path: Path, request: &Request) {
        if let Some(dialog) = self.dialogs.get_mut(id) {
            dialog.hear(&request.fields);
            match dialog.state {
                // Each fork counts for itself, and the dialog is not yet any one of them.
                State::Calling(_) => {
                    if let Some(fork) = request.from.tag().and_then(|tag| dialog.fork_mut(tag)) {
                        fork.identity.remote_cseq = Some(request.cseq);
                    }
                }
                State::Ringing(_) | State::Up(_) | State::Ending(_) => {
                    dialog.identity.remote_cseq = Some(request.cseq);
                    dialog.identity.seen_on(path);
                }
            }
        }
    }
}
