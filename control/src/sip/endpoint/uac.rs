//! Calls that are placed: INVITE, its CANCEL, and what a 2xx brings (RFC 3261 sections 9.1, 13.2).

use super::super::api::{DialogId, Event, Failure, Large, Outgoing, Transmit};
use super::super::dialog::state::Cause;
use super::super::dialog::{Again, Calling, Cancel, Dialog, Fork, Identity, Report, State, Up, session_timer};
use super::super::digest::Attempt;
use super::super::path::Transport;
use super::super::policy::{Extension, Policy};
use super::super::syntax::uri::{phone_name_addr, phone_uri};
use super::super::syntax::{Response, status};
use super::super::transaction::{Client, ClientInvite, Hop, Key, Path, Timer, Transaction, TransactionId};
use super::Endpoint;
use super::purpose::sdp;
use crate::time::Time;

/// Most early dialogs of one INVITE that are told apart.
const MAX_FORKS: usize = 16;

/// Longest request that goes over UDP, bytes, where another way may be taken (RFC 3261 section 18.1.1).
const MOST_OVER_UDP: usize = 1300;

/// Request-URI with the transport it is sent by.
fn request_uri(call: &Outgoing) -> String {
    let uri = phone_uri(&call.request_uri, call.user_phone);
    match call.request_uri.host.as_str() {
        // A number alone has no transport.
        "" => uri,
        _ => uri + call.transport.parameter(),
    }
}

impl Endpoint {
    /// Places a call. [`Event::Progress`] may follow, and then [`Event::Answered`] or [`Event::Failed`].
    pub fn invite(&mut self, now: Time, call: Outgoing) -> DialogId {
        let dialog = self.dialogs.next_id();
        let local_tag = self.ids.tag();
        let path = Path {
            local: call.local,
            remote: call.remote,
            transport: call.transport,
            connection: None,
            peer: call.peer,
        };
        let hop = Hop {
            path,
            dialog: path,
            uri: request_uri(&call),
            branch: self.ids.branch(),
            from: format!("{};tag={local_tag}", phone_name_addr(&call.from, call.user_phone)),
            to: phone_name_addr(&call.to, call.user_phone),
            routes: Vec::new(),
            within_dialog: false,
            call_id: self.ids.call_id(),
            cseq: self.ids.cseq(),
            max_forwards: call.max_forwards,
            credentials: Vec::new(),
        };
        let identity = Identity::outgoing(&hop, local_tag);
        let mut again = Again {
            headers: call.headers,
            terms: Vec::new(),
            sdp: call.sdp,
            large: call.large,
            attempt: Attempt::default(),
        };
        let trunk = call.trunk;
        let policy = self.policy(trunk.as_deref());
        again.terms = Self::extensions_asked(&policy, session_timer::ask(&policy.timers, 0, None));
        let invite = self.send_invite(now, dialog, hop, (trunk.as_deref(), &policy), &mut again);
        let calling = Calling {
            invite,
            forks: Vec::new(),
            told: None,
            cancel: Cancel::No,
            again: Box::new(again),
        };
        let begun = Dialog::new(identity, trunk, policy, State::Calling(calling));
        self.dialogs.insert(dialog, begun);
        let patience = self.config.invite_timeout;
        let mut cx = self.shared.dialog(now, dialog);
        cx.arm(Timer::InviteTimeout, patience);
        if let Some(patience) = call.patience {
            cx.arm(Timer::Unheard, patience);
        }
        dialog
    }

    /// Sends an INVITE, with what credentials there are, in a transaction of its own.
    pub(super) fn send_invite(
        &mut self,
        now: Time,
        dialog: DialogId,
        mut hop: Hop,
        (trunk, policy): (Option<&str>, &Policy),
        again: &mut Again,
    ) -> TransactionId {
        let ids = &mut self.ids;
        hop.credentials = self
            .logins
            .credentials(trunk, &mut again.attempt, "INVITE", &hop.uri, || ids.cnonce());
        let path = hop.path;
        let written = |hop: &Hop| {
            let first = hop.request("INVITE", &hop.to);
            self.invite_request(first, path, &hop.credentials, policy, again)
        };
        let mut request = written(&hop);
        let mut fallback = None;
        if let Some(by_tcp) = self.too_large(path, request.len(), again.large) {
            fallback = Some((path, request));
            hop.path = by_tcp;
            request = written(&hop);
        }
        let path = hop.path;
        let key = Key::Client {
            branch: hop.branch.clone(),
            method: "INVITE".to_owned(),
        };
        let invite = self.transactions.next_id();
        let client = ClientInvite::start(&mut self.shared.transaction(now, invite), hop, request, fallback);
        let transaction = Transaction::ClientInvite(Box::new(client));
        self.transactions
            .insert(invite, transaction, Some(dialog), vec![key], Some(path));
        invite
    }

    /// The way of a request that is too large for its own: over TCP (RFC 3261 section 18.1.1), if we have that.
    fn too_large(&self, path: Path, length: usize, large: Large) -> Option<Path> {
        let switches = path.transport == Transport::Udp && length > MOST_OVER_UDP && large == Large::Tcp;
        let listen = self.config.listen.iter().filter(|_| switches);
        let local = listen
            .filter_map(|listen| listen.at(Transport::Tcp, path.local.ip()))
            .next()?;
        Some(Path {
            local,
            transport: Transport::Tcp,
            ..path
        })
    }

    /// Takes an unanswered INVITE back: at once if a provisional response came, else when one comes.
    pub(super) fn cancel(&mut self, now: Time, id: DialogId, cause: Cause) {
        let Some(Dialog {
            state: State::Calling(calling),
            ..
        }) = self.dialogs.get_mut(id)
        else {
            return;
        };
        if let Cancel::Sent(_) = calling.cancel {
            return;
        }
        // What has been given up stays so, whoever hangs up afterwards.
        if calling.cancel != Cancel::Wanted(Cause::GivenUp) {
            calling.cancel = Cancel::Wanted(cause);
        }
        let Cancel::Wanted(cause) = calling.cancel else { return };
        let invite = calling.invite;
        let Some(Transaction::ClientInvite(client)) = self.transactions.get(invite).map(|entry| &entry.transaction)
        else {
            return;
        };
        if !client.is_proceeding() {
            return;
        }
        calling.cancel = Cancel::Sent(cause);
        let path = client.hop.path;
        let key = Key::Client {
            branch: client.hop.branch.clone(),
            method: "CANCEL".to_owned(),
        };
        let mut writer = client.hop.request("CANCEL", &client.hop.to);
        writer.header("User-Agent", &self.config.user_agent);
        let request = writer.finish(None);
        let patience = self.shared.timings.patience();
        let mut cx = self.shared.dialog(now, id);
        cx.disarm(Timer::InviteTimeout);
        cx.arm(Timer::CancelGrace, patience);
        // The answer to the CANCEL itself says nothing: the INVITE's final response does.
        let cancel = self.transactions.next_id();
        let client = Client::start(&mut self.shared.transaction(now, cancel), path, request);
        self.transactions
            .insert(cancel, Transaction::Client(client), None, vec![key], Some(path));
    }

    /// What the INVITE that is to begin a dialog says of extensions.
    pub(super) fn extensions_asked(policy: &Policy, mut terms: Vec<(String, String)>) -> Vec<(String, String)> {
        if policy.reliable == Extension::Required {
            terms.push(("Require".to_owned(), "100rel".to_owned()));
        }
        terms
    }

    /// 1xx.
    pub(super) fn on_progress(&mut self, now: Time, came: Path, id: DialogId, response: &Response) {
        let Some(Dialog {
            identity,
            state: State::Calling(calling),
            ..
        }) = self.dialogs.get_mut(id)
        else {
            return;
        };
        let tag = response.to.tag();
        if tag.is_some()
            && calling.forks.len() < MAX_FORKS
            && !calling.forks.iter().any(|fork| fork.identity.is_from(tag))
        {
            calling.forks.push(Fork {
                identity: identity.answered(response, came),
                rseq: None,
                answer: None,
            });
        }
        let cancel = calling.cancel;
        self.shared.dialog(now, id).disarm(Timer::Unheard);
        if !self.acknowledge_provisional(now, id, response) {
            return;
        }
        match cancel {
            Cancel::Wanted(cause) => self.cancel(now, id, cause),
            Cancel::Sent(_) => {}
            Cancel::No if (180..=199).contains(&response.status) => {
                let sdp = self.early_answer(id, response);
                self.tell(Event::Progress {
                    dialog: id,
                    status: response.status,
                    sdp,
                });
            }
            Cancel::No => {}
        }
    }

    /// Nothing has answered the INVITE in the time that its sender has: for the call layer it has failed. Should an answer
    /// come yet, it is taken back.
    pub(super) fn on_unheard(&mut self, now: Time, id: DialogId) {
        let Some(Dialog {
            state: State::Calling(Calling { cancel: Cancel::No, .. }),
            ..
        }) = self.dialogs.get(id)
        else {
            return;
        };
        self.cancel(now, id, Cause::GivenUp);
        self.tell(Event::Failed {
            dialog: id,
            status: 408,
            reason: "Nothing answers".to_owned(),
            failure: Failure::Silent,
        });
    }

    /// The SDP of a provisional response, if it is news: after an answer that came reliably nothing is.
    fn early_answer(&mut self, id: DialogId, response: &Response) -> Option<Vec<u8>> {
        let answer = sdp(&response.fields, &response.body)?;
        let tag = response.to.tag().unwrap_or_default();
        let dialog = self.dialogs.get_mut(id)?;
        if let Some(fork) = dialog.fork_mut(tag) {
            if fork.answer.is_some() {
                return None;
            }
            if fork.rseq.is_some() && response.fields.rseq.is_some() {
                fork.answer = Some(answer.clone());
            }
        }
        if let State::Calling(calling) = &mut dialog.state {
            calling.told = Some(tag.to_owned());
        }
        Some(answer)
    }

    /// The INVITE that was to begin the dialog failed: a final response, or none.
    pub(super) fn on_failure(&mut self, id: DialogId, heard: u16, reason: &str, failure: Failure) {
        let Some(Dialog {
            state: State::Calling(calling),
            ..
        }) = self.dialogs.get(id)
        else {
            return;
        };
        let (status, reason, failure) = match calling.cancel {
            // Told already.
            Cancel::Wanted(Cause::GivenUp) | Cancel::Sent(Cause::GivenUp) => return self.forget(id),
            Cancel::Wanted(Cause::TimedOut) | Cancel::Sent(Cause::TimedOut) => {
                (408, status::phrase(408), Failure::TakenBack)
            }
            Cancel::Wanted(Cause::HungUp) | Cancel::Sent(Cause::HungUp) => (heard, reason, Failure::TakenBack),
            Cancel::No => (heard, reason, failure),
        };
        let reason = if reason.is_empty() {
            status::phrase(status)
        } else {
            reason
        }
        .to_owned();
        self.forget(id);
        self.tell(Event::Failed {
            dialog: id,
            status,
            reason,
            failure,
        });
    }

    /// The other side never answered our CANCEL: the INVITE counts as gone (RFC 3261 section 9.1).
    pub(super) fn on_cancel_unheard(&mut self, id: DialogId) {
        let Some(Dialog {
            state: State::Calling(calling),
            ..
        }) = self.dialogs.get(id)
        else {
            return;
        };
        let invite = calling.invite;
        self.drop_transaction(invite);
        self.on_failure(id, 487, status::phrase(487), Failure::TakenBack);
    }

    /// A 2xx: ACK it; then the call is up, or, if it was taken back or another fork answered first, BYE it.
    pub(super) fn on_success(
        &mut self,
        now: Time,
        came: Path,
        invite: TransactionId,
        id: Option<DialogId>,
        response: &Response,
    ) {
        let tag = response.to.tag().unwrap_or("").to_owned();
        let Some(Transaction::ClientInvite(client)) = self.transactions.get(invite).map(|entry| &entry.transaction)
        else {
            return;
        };
        if client.repeat_ack(&mut self.shared.transaction(now, invite), &tag) {
            self.shared.counters.retransmissions_received += 1;
            return;
        }
        if !client.has_room_for_fork() {
            self.shared.counters.stray += 1;
            return;
        }
        let cseq = client.hop.cseq;
        if client.hop.within_dialog {
            return self.on_offer_accepted(now, came, (invite, id), response);
        }
        let local_tag = response.from.tag().unwrap_or("").to_owned();
        let identity = Identity::outgoing(&client.hop, local_tag).answered(response, came);
        self.acknowledge(now, invite, &tag, &identity, cseq);

        let known = id.and_then(|id| Some((id, self.dialogs.get(id)?)));
        let trunk = known.and_then(|(_, dialog)| dialog.trunk.clone());
        let policy = known.map(|(_, dialog)| dialog.policy).unwrap_or_default();
        let least = known.map_or(0, |(_, dialog)| dialog.least);
        let mut identity = identity;
        let mut answer = sdp(&response.fields, &response.body);
        if let Some((
            _,
            Dialog {
                state: State::Calling(calling),
                ..
            },
        )) = known
            && let Some(fork) = calling.forks.iter().find(|fork| fork.identity.is_from(Some(&tag)))
        {
            // Requests may have passed in the early dialog.
            identity.local_cseq = fork.identity.local_cseq.max(identity.local_cseq);
            identity.remote_cseq = fork.identity.remote_cseq;
            if let Some(early) = &fork.answer {
                // Unless the call layer has meanwhile heard of another fork's.
                answer = Some(early.clone()).filter(|_| calling.told.as_deref() != Some(&tag));
            }
        }
        let state = known.map(|(id, dialog)| (id, &dialog.state));
        match state {
            Some((
                id,
                State::Calling(Calling {
                    cancel: Cancel::No,
                    again,
                    ..
                }),
            )) => {
                let mut answered = Dialog::new(identity, trunk, policy, State::Up(Up::default()));
                answered.ours.clone_from(&again.sdp);
                answered.least = least;
                answered.hear(&response.fields);
                answered.describe(answer.as_deref().unwrap_or_default());
                let mut cx = self.shared.dialog(now, id);
                cx.disarm(Timer::InviteTimeout);
                cx.disarm(Timer::Unheard);
                self.dialogs.insert(id, answered);
                self.on_terms_taken(now, id, &response.fields);
                self.tell(Event::Answered {
                    dialog: id,
                    sdp: answer,
                });
            }
            // The 2xx crossed our CANCEL.
            Some((id, State::Calling(_))) => {
                self.on_failure(id, 487, status::phrase(487), Failure::TakenBack);
                let ending = Dialog::new(identity, trunk, policy, State::Up(Up::default()));
                self.dialogs.insert(id, ending);
                self.bye(now, id, None, Report::Silent);
            }
            Some((_, State::Up(_) | State::Ending(_) | State::Ringing(_))) | None => {
                let fork = self.dialogs.next_id();
                let ending = Dialog::new(identity, trunk, policy, State::Up(Up::default()));
                self.dialogs.insert_unlisted(fork, ending);
                self.bye(now, fork, None, Report::Silent);
            }
        }
    }

    /// Sends the ACK to a 2xx, and keeps it for repetition.
    pub(super) fn acknowledge(&mut self, now: Time, invite: TransactionId, tag: &str, identity: &Identity, cseq: u32) {
        let path = identity.next_hop(&self.config.listen);
        let mut writer = identity.request("ACK", cseq, &self.ids.branch(), path);
        if let Some(Transaction::ClientInvite(client)) = self.transactions.get(invite).map(|entry| &entry.transaction) {
            for (name, value) in &client.hop.credentials {
                writer.header(name, value);
            }
        }
        writer.header("User-Agent", &self.config.user_agent);
        let ack = Transmit {
            path,
            data: writer.finish(None),
        };
        if let Some(Transaction::ClientInvite(client)) = self.transactions.get_mut(invite).map(|e| &mut e.transaction) {
            client.keep_ack(tag, &ack);
        }
        self.shared.transaction(now, invite).send(path, ack.data);
    }
}
