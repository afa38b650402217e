//! Offers of ours within a dialog: re-INVITEs (RFC 3261 section 14.1).
//!
//! There is one INVITE at a time in a dialog, whoever's it is. An offer that finds another under way waits; one that meets
//! one of the other side's on the way (491) waits, too, as long as the owner of the Call-ID or the other has to.

use std::time::Duration;

use super::super::api::{DialogId, Event, Large};
use super::super::dialog::{Again, Asker, Dialog, Offering, State, Up};
use super::super::digest::Attempt;
use super::super::policy::{Extension, Policy};
use super::super::syntax::Response;
use super::super::transaction::{Owner, Path, Timer, Transaction, TransactionId};
use super::Endpoint;
use super::purpose::sdp;
use super::request::Ended;
use super::session_timer::RefreshBy;
use crate::time::Time;

/// How often an offer is sent that meets others, or finds the other side not ready.
const MAX_TRIES: u8 = 8;

/// Longest Retry-After that is waited for, seconds: as long as RFC 3261 section 14.2 has it.
const MAX_RETRY_AFTER: u32 = 10;

impl Endpoint {
    /// Offers another session within a dialog that is up, by a re-INVITE. [`Event::OfferAnswered`] or
    /// [`Event::OfferRefused`] follows, unless the dialog ends before, as it does if the other side does not know it any
    /// more or does not answer. An offer that is made while another is under way is sent after it; of several the last.
    ///
    /// False: the dialog is not up.
    pub fn offer(&mut self, now: Time, dialog: DialogId, sdp: Vec<u8>) -> bool {
        let Some(Dialog {
            state: State::Up(up), ..
        }) = self.dialogs.get_mut(dialog)
        else {
            return false;
        };
        match &mut up.offering {
            Some(offering) if offering.sent.is_some() => offering.next = Some(sdp),
            Some(offering) => {
                offering.again.sdp = sdp;
                offering.asker = Asker::CallLayer;
            }
            None => self.begin_offer(now, dialog, sdp, Asker::CallLayer),
        }
        true
    }

    /// Makes an offer where none is under way.
    pub(super) fn begin_offer(&mut self, now: Time, id: DialogId, sdp: Vec<u8>, asker: Asker) {
        if let Some(up) = self.up_mut(id) {
            up.offering = Some(Box::new(Offering {
                sent: None,
                again: Again {
                    headers: Vec::new(),
                    terms: Vec::new(),
                    sdp,
                    // It takes the dialog's way, whatever its size.
                    large: Large::Udp,
                    attempt: Attempt::default(),
                },
                tries: 0,
                asker,
                next: None,
            }));
            self.send_offer(now, id);
        }
    }

    /// Sends the offer that waits, if no other INVITE is under way.
    pub(super) fn send_offer(&mut self, now: Time, id: DialogId) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        let terms = Self::terms_asked(dialog);
        let Dialog {
            identity,
            trunk,
            policy,
            state: State::Up(up),
            ..
        } = dialog
        else {
            return;
        };
        let is_busy = up.pending.is_some() || up.unacked.is_some();
        let Some(mut offering) = up.offering.take_if(|offering| offering.sent.is_none()) else {
            return;
        };
        if is_busy {
            up.offering = Some(offering);
            let wait = self.ids.glare(identity.is_ours);
            return self.shared.dialog(now, id).arm(Timer::Offer, wait);
        }
        identity.local_cseq = identity.local_cseq.saturating_add(1);
        let path = identity.next_hop(&self.config.listen);
        let hop = identity.hop(identity.local_cseq, self.ids.branch(), path);
        // What is provisional about a re-INVITE nobody waits for.
        let policy = Policy {
            reliable: Extension::Off,
            ..*policy
        };
        let trunk = trunk.clone();
        offering.tries += 1;
        offering.again.terms = terms;
        offering.sent = Some(self.send_invite(now, id, hop, (trunk.as_deref(), &policy), &mut offering.again));
        if let Some(up) = self.up_mut(id) {
            up.offering = Some(offering);
        }
        let patience = self.config.invite_timeout;
        self.shared.dialog(now, id).arm(Timer::InviteTimeout, patience);
    }

    /// 2xx to our re-INVITE: it gets its ACK even if the dialog is ending.
    pub(super) fn on_offer_accepted(
        &mut self,
        now: Time,
        came: Path,
        (invite, id): (TransactionId, Option<DialogId>),
        response: &Response,
    ) {
        let tag = response.to.tag().unwrap_or("").to_owned();
        let Some(dialog) = id.and_then(|id| self.dialogs.get_mut(id)) else {
            return;
        };
        if let Some(contact) = &response.contact {
            dialog.identity.retarget(contact.uri.as_str().to_owned());
        }
        dialog.identity.seen_on(came);
        let identity = dialog.identity.clone();
        self.acknowledge(now, invite, &tag, &identity, response.cseq);
        if let Some(id) = id
            && let Some(offering) = self.end_offer(id, invite)
        {
            let answer = sdp(&response.fields, &response.body);
            self.on_terms_taken(now, id, &response.fields);
            let Some(dialog) = self.dialogs.get_mut(id) else { return };
            dialog.hear(&response.fields);
            dialog.ours.clone_from(&offering.again.sdp);
            let is_other = answer.as_deref().is_some_and(|answer| dialog.describe(answer));
            match offering.asker {
                Asker::Core if !is_other => {}
                // That of a refresh, too, if it is not what it was.
                Asker::CallLayer | Asker::Core => self.tell(Event::OfferAnswered {
                    dialog: id,
                    sdp: answer,
                }),
            }
            self.offer_next(now, id, offering.next);
        }
    }

    /// Our re-INVITE was refused, or never answered.
    pub(super) fn on_offer_refused(&mut self, now: Time, id: DialogId, invite: TransactionId, ended: Ended<'_>) {
        let Some(mut offering) = self.end_offer(id, invite) else {
            return;
        };
        if let Ended::Response(response) = ended
            && matches!(response.status, 401 | 407)
            && self.may_prove(id, &mut offering.again.attempt, response)
        {
            offering.sent = None;
            offering.tries = offering.tries.saturating_sub(1);
            if let Some(up) = self.up_mut(id) {
                up.offering = Some(offering);
            }
            return self.send_offer(now, id);
        }
        if offering.tries < MAX_TRIES
            && let Some(wait) = self.wait_before_next_try(id, ended)
        {
            offering.sent = None;
            if let Some(sdp) = offering.next.take() {
                offering.again.sdp = sdp;
                offering.asker = Asker::CallLayer;
            }
            if let Some(up) = self.up_mut(id) {
                up.offering = Some(offering);
            }
            return self.shared.dialog(now, id).arm(Timer::Offer, wait);
        }
        match offering.asker {
            Asker::CallLayer => self.tell(Event::OfferRefused {
                dialog: id,
                outcome: Box::new(ended.outcome()),
            }),
            Asker::Core => {}
        }
        if ended.is_loss() {
            return self.lose(now, id, ended.status());
        }
        match offering.asker {
            Asker::CallLayer => {}
            Asker::Core => self.on_refresh_refused(now, id, RefreshBy::Reinvite, ended),
        }
        self.offer_next(now, id, offering.next);
    }

    /// How long a refused offer waits until it is sent again; `None` if it is not.
    fn wait_before_next_try(&mut self, id: DialogId, ended: Ended<'_>) -> Option<Duration> {
        let identity = &self.dialogs.get(id)?.identity;
        match (ended.status(), ended.retry_after()) {
            (491, _) => Some(self.ids.glare(identity.is_ours)),
            (500, Some(seconds @ ..=MAX_RETRY_AFTER)) => Some(Duration::from_secs(seconds.into())),
            _ => None,
        }
    }

    /// Nobody has answered our re-INVITE for long, though it was heard of.
    pub(super) fn on_offer_timeout(&mut self, now: Time, id: DialogId) {
        if self.up_mut(id).is_some_and(|up| up.offering.is_some()) {
            self.lose(now, id, 408);
        }
    }

    /// Takes out the offer that this transaction carries; `None` if the dialog has no such.
    pub(super) fn end_offer(&mut self, id: DialogId, invite: TransactionId) -> Option<Box<Offering>> {
        let offering = self
            .up_mut(id)?
            .offering
            .take_if(|offering| offering.sent == Some(invite))?;
        self.shared.timers.disarm(Owner::Dialog(id), Timer::InviteTimeout);
        Some(offering)
    }

    /// The dialog ends: what becomes of our re-INVITE is nobody's concern any more.
    pub(super) fn abandon_offer(&mut self, now: Time, id: DialogId) {
        let offering = self.up_mut(id).and_then(|up| up.offering.take());
        let Some(invite) = offering.and_then(|offering| offering.sent) else {
            return;
        };
        let entry = self.transactions.get_mut(invite);
        if let Some(Transaction::ClientInvite(client)) = entry.map(|entry| &mut entry.transaction) {
            client.abandon(&mut self.shared.transaction(now, invite));
        }
    }

    fn offer_next(&mut self, now: Time, id: DialogId, next: Option<Vec<u8>>) {
        if let Some(sdp) = next {
            self.begin_offer(now, id, sdp, Asker::CallLayer);
        }
    }

    pub(super) fn up_mut(&mut self, id: DialogId) -> Option<&mut Up> {
        match &mut self.dialogs.get_mut(id)?.state {
            State::Up(up) => Some(up),
            State::Calling(_) | State::Ringing(_) | State::Ending(_) => None,
        }
    }
}
