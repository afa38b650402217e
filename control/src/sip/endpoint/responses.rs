//! Responses to what we sent (RFC 3261 sections 17.1.3, 8.1.3).

use super::super::api::{DialogId, Event, Termination};
use super::super::dialog::{Dialog, Report, State};
use super::super::syntax::{Response, status};
use super::super::transaction::{Fate, Key, Path, Transaction, TransactionId, client, client_invite};
use super::Endpoint;
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
                client::Heard::Final if matches!(response.status, 401 | 407) => {
                    self.on_bye_challenged(now, dialog, response);
                }
                client::Heard::Final => self.on_bye_done(dialog, Termination::ByeAnswered),
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
            (client_invite::Heard::New, 100..=199, Some(dialog)) => self.on_progress(now, dialog, response),
            (client_invite::Heard::New | client_invite::Heard::FurtherSuccess, 200..=299, dialog) => {
                self.on_success(now, path, id, dialog, response);
            }
            (client_invite::Heard::New, 401 | 407, Some(dialog)) => {
                self.on_invite_challenged(now, id, dialog, response)
            }
            (client_invite::Heard::New, 300.., Some(dialog)) => {
                self.on_failure(dialog, response.status, &response.reason);
            }
            (client_invite::Heard::New | client_invite::Heard::FurtherSuccess, _, _) => {}
            (client_invite::Heard::Repeated, _, _) => self.shared.counters.retransmissions_received += 1,
        }
    }

    /// A transaction has come to its end, or has not.
    pub(super) fn on_fate(&mut self, _now: Time, id: TransactionId, fate: Fate) {
        match fate {
            Fate::Lives => {}
            Fate::Done => {
                self.drop_transaction(id);
            }
            Fate::Failed(failure) => {
                let dialog = self.drop_transaction(id);
                match dialog.and_then(|id| Some((id, &self.dialogs.get(id)?.state))) {
                    Some((dialog, State::Calling(_))) => self.on_failure(dialog, failure, status::phrase(failure)),
                    Some((_, State::Ending(_))) => self.on_bye_done(dialog, Termination::ByeTimeout),
                    Some((_, State::Ringing(_) | State::Up(_))) | None => {}
                }
            }
        }
    }

    /// Our BYE was answered, or never will be.
    pub(super) fn on_bye_done(&mut self, dialog: Option<DialogId>, cause: Termination) {
        let Some(id) = dialog else { return };
        let Some(Dialog {
            state: State::Ending(ending),
            ..
        }) = self.dialogs.get(id)
        else {
            return;
        };
        let report = ending.report;
        self.forget(id);
        match report {
            Report::Tell => self.tell(Event::Terminated { dialog: id, cause }),
            Report::Silent => {}
        }
    }
}
