//! Hanging up (RFC 3261 section 15).

use super::super::api::DialogId;
use super::super::dialog::state::Cause;
use super::super::dialog::{AfterAck, Dialog, Ending, Report, State};
use super::super::digest::Attempt;
use super::super::transaction::{Client, Key, Owner, Transaction};
use super::Endpoint;
use crate::time::Time;

impl Endpoint {
    /// Ends a dialog in the way its state asks for:
    ///
    /// | state | what is sent | what follows |
    /// | --- | --- | --- |
    /// | our INVITE unanswered | CANCEL, once a provisional response allows it; ACK and BYE if a 2xx crosses it | `Failed` |
    /// | their INVITE unanswered | 480 | nothing: the dialog is gone |
    /// | our 2xx not acknowledged | BYE after the ACK, or after timer H | `Terminated` |
    /// | up | 487 to a waiting re-INVITE; BYE | `Terminated` |
    ///
    /// `reason` is the value of a Reason header (RFC 3326) for the BYE.
    pub fn hang_up(&mut self, now: Time, dialog: DialogId, reason: Option<&str>) {
        let Some(Dialog { state, .. }) = self.dialogs.get_mut(dialog) else {
            return;
        };
        match state {
            State::Calling(_) => self.cancel(now, dialog, Cause::HungUp),
            State::Ringing(_) => self.reject(now, dialog, 480, &[]),
            State::Up(up) => match &mut up.unacked {
                Some(unacked) => {
                    unacked.then = AfterAck::HangUp {
                        reason: reason.map(str::to_owned),
                    }
                }
                None => self.bye(now, dialog, reason, Report::Tell),
            },
            State::Ending(_) => {}
        }
    }

    /// Sends BYE now.
    pub(super) fn bye(&mut self, now: Time, id: DialogId, reason: Option<&str>, report: Report) {
        // A re-INVITE that waits is not left without an answer.
        if let Some(Dialog {
            state: State::Up(up), ..
        }) = self.dialogs.get(id)
            && up.pending.is_some()
        {
            self.reject(now, id, 487, &[]);
        }
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        dialog.state = State::Ending(Ending {
            report,
            reason: reason.map(str::to_owned),
            attempt: Attempt::default(),
        });
        self.shared.timers.disarm_all(Owner::Dialog(id));
        self.send_bye(now, id);
    }

    /// Sends the BYE of a dialog that is ending, for the first time or with credentials.
    pub(super) fn send_bye(&mut self, now: Time, id: DialogId) {
        let Some(Dialog {
            identity,
            trunk,
            state: State::Ending(ending),
        }) = self.dialogs.get_mut(id)
        else {
            return;
        };
        identity.local_cseq = identity.local_cseq.saturating_add(1);
        let identity = identity.clone();
        let (uri, ids) = (identity.request_uri(), &mut self.ids);
        let mut headers = self
            .logins
            .credentials(trunk.as_deref(), &mut ending.attempt, "BYE", &uri, || ids.cnonce());
        headers.extend(ending.reason.clone().map(|reason| ("Reason".to_owned(), reason)));
        let branch = self.ids.branch();
        let path = identity.next_hop(&self.config.listen);
        let request = self.bye_request(&identity, &branch, path, &headers);
        let transaction = self.transactions.next_id();
        let client = Client::start(&mut self.shared.transaction(now, transaction), path, request);
        let key = Key::Client {
            branch,
            method: "BYE".to_owned(),
        };
        self.transactions.insert(
            transaction,
            Transaction::Client(client),
            Some(id),
            vec![key],
            Some(path),
        );
    }
}
