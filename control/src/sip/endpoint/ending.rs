//! Hanging up (RFC 3261 section 15).

use super::super::api::{DialogId, Event, Termination};
use super::super::dialog::state::Cause;
use super::super::dialog::{AfterAck, Asker, Dialog, Ending, Report, State};
use super::super::transaction::Owner;
use super::super::within::{Within, WithinMethod};
use super::Endpoint;
use crate::time::Time;

impl Endpoint {
    /// Ends a dialog in the way its state asks for:
    ///
    /// | state | what is sent | what follows |
    /// | --- | --- | --- |
    /// | our INVITE unanswered | CANCEL, once a provisional response allows it; ACK and BYE if a 2xx crosses it | `Failed` |
    /// | their INVITE unanswered | 480 | nothing: the dialog is gone |
    /// | the same, and our answer waits for a PRACK | 480 | `Terminated` |
    /// | our 2xx not acknowledged | BYE after the ACK, or after timer H | `Terminated` |
    /// | up, and they wait for what comes of a REFER of theirs | BYE after the last NOTIFY of it | `Terminated` |
    /// | up | 487 to a waiting re-INVITE; BYE | `Terminated` |
    ///
    /// `reason` is the value of a Reason header (RFC 3326) for the BYE.
    pub fn hang_up(&mut self, now: Time, dialog: DialogId, reason: Option<&str>) {
        if self.tells_first(now, dialog, reason) {
            return;
        }
        let Some(Dialog { state, .. }) = self.dialogs.get_mut(dialog) else {
            return;
        };
        match state {
            State::Calling(_) => self.cancel(now, dialog, Cause::HungUp),
            State::Ringing(ringing) => {
                // The call layer has answered, and waits for what ends that.
                let is_held = ringing.reliably.held.is_some();
                self.reject(now, dialog, 480, &[]);
                if is_held {
                    self.tell(Event::Terminated {
                        dialog,
                        cause: Termination::NoPrack,
                    });
                }
            }
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
        self.end_asked(now, id);
        self.refuse_refer(now, id, 487, &[]);
        self.abandon_offer(now, id);
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        dialog.state = State::Ending(Ending { report });
        // Room for the BYE, whatever else waits: nobody does any more.
        dialog.requests.clear();
        dialog.notifiers.clear();
        self.shared.timers.disarm_all(Owner::Dialog(id));
        let request = Within {
            method: WithinMethod::Bye,
            headers: reason
                .map(|reason| ("Reason".to_owned(), reason.to_owned()))
                .into_iter()
                .collect(),
            content: None,
        };
        self.ask(now, id, request, Asker::Core);
    }

    /// Our BYE was answered, or never will be.
    pub(super) fn on_bye_done(&mut self, id: DialogId, cause: Termination) {
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
