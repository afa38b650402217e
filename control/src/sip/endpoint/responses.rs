//! Responses to what we sent (RFC 3261 sections 17.1.3, 8.1.3).

use super::super::api::{DialogId, Failure};
use super::super::dialog::State;
use super::super::syntax::{Response, status};
use super::super::transaction::{Fate, Key, Path, Transaction, TransactionId, client, client_invite};
use super::request::Ended;
use super::{Endpoint, redirects};
use crate::time::Time;

impl Endpoint {
    pub(super) fn on_response(&mut self, now: Time, path: Path, response: &Response) {
        let found = Key::client(response).and_then(|key| self.transactions.find(&key));
        let Some((id, entry)) = found.and_then(|id| Some((id, self.transactions.get_mut(id)?))) else {
            tracing::debug!(remote = %path.remote, status = response.status, "response to nothing");
            self.shared.counters.stray += 1;
            return;
        };
        let dialog = entry.dialog;
        let mut cx = self.shared.transaction(now, id);
        match &mut entry.transaction {
            Transaction::ClientInvite(invite) => {
                let heard = invite.on_response(&mut cx, response.status, response.to.as_str());
                self.on_invite_response(now, path, (id, dialog), response, heard);
            }
            Transaction::Client(client) => match client.on_response(&mut cx, response.status) {
                client::Heard::Final => match dialog {
                    Some(dialog) => self.on_request_ended(now, dialog, id, Ended::Response(response)),
                    None => self.on_outside_ended(now, id, Ended::Response(response)),
                },
                client::Heard::Provisional => {}
                client::Heard::Repeated => self.shared.counters.retransmissions_received += 1,
            },
            Transaction::ServerInvite(_) | Transaction::Server(_) => self.shared.counters.stray += 1,
        }
    }

    fn on_invite_response(
        &mut self,
        now: Time,
        path: Path,
        (id, dialog): (TransactionId, Option<DialogId>),
        response: &Response,
        heard: client_invite::Heard,
    ) {
        match (heard, response.status, dialog) {
            (client_invite::Heard::New, 100..=199, Some(dialog)) => self.on_progress(now, path, dialog, response),
            (client_invite::Heard::New | client_invite::Heard::FurtherSuccess, 200..=299, dialog) => {
                self.on_success(now, path, id, dialog, response);
            }
            (client_invite::Heard::New, 300.., Some(dialog)) => match self.dialogs.get(dialog).map(|one| &one.state) {
                Some(State::Calling(_)) if matches!(response.status, 401 | 407) => {
                    self.on_invite_challenged(now, id, dialog, response);
                }
                Some(State::Calling(_)) if response.status == 422 => {
                    self.on_invite_too_small(now, id, dialog, response);
                }
                Some(State::Calling(_)) => {
                    self.on_failure(dialog, response.status, &response.reason, redirects::refusal(response));
                }
                Some(State::Up(_)) => self.on_offer_refused(now, dialog, id, Ended::Response(response)),
                Some(State::Ringing(_) | State::Ending(_)) | None => {}
            },
            (client_invite::Heard::New | client_invite::Heard::FurtherSuccess, _, _) => {}
            (client_invite::Heard::Repeated, _, _) => self.shared.counters.retransmissions_received += 1,
        }
    }

    /// A transaction has come to its end, or has not.
    pub(super) fn on_fate(&mut self, now: Time, id: TransactionId, fate: Fate) {
        let failure = match fate {
            Fate::Lives => return,
            Fate::Done => {
                self.drop_transaction(id);
                return;
            }
            Fate::Failed(failure) => failure,
        };
        let Some(entry) = self.transactions.get(id) else { return };
        let is_invite = matches!(entry.transaction, Transaction::ClientInvite(_));
        let Some(dialog) = self.drop_transaction(id) else {
            return self.on_outside_ended(now, id, Ended::Failed(failure));
        };
        match self.dialogs.get(dialog).map(|one| (is_invite, &one.state)) {
            Some((false, _)) => self.on_request_ended(now, dialog, id, Ended::Failed(failure)),
            Some((true, State::Calling(_))) => {
                let how = match failure {
                    503 => Failure::Unreachable,
                    _ => Failure::Silent,
                };
                self.on_failure(dialog, failure, status::phrase(failure), how);
            }
            Some((true, State::Up(_))) => self.on_offer_refused(now, dialog, id, Ended::Failed(failure)),
            Some((true, State::Ringing(_) | State::Ending(_))) | None => {}
        }
    }
}
