//! What is done when a timer fires.

use super::super::api::{DialogId, Event, Termination};
use super::super::dialog::state::Cause;
use super::super::dialog::{AfterAck, Dialog, Report, State};
use super::super::transaction::{Owner, Timer, Transaction, TransactionId};
use super::Endpoint;
use crate::time::Time;

impl Endpoint {
    pub(super) fn on_timer(&mut self, now: Time, owner: Owner, timer: Timer) {
        match owner {
            Owner::Transaction(id) => self.on_transaction_timer(now, id, timer),
            Owner::Dialog(id) => self.on_dialog_timer(now, id, timer),
        }
    }

    fn on_transaction_timer(&mut self, now: Time, id: TransactionId, timer: Timer) {
        let Some(entry) = self.transactions.get_mut(id) else {
            return;
        };
        let mut cx = self.shared.transaction(now, id);
        let fate = match &mut entry.transaction {
            Transaction::ClientInvite(invite) => invite.on_timer(&mut cx, timer),
            Transaction::Client(client) => client.on_timer(&mut cx, timer),
            Transaction::ServerInvite(invite) => invite.on_timer(&mut cx, timer),
            Transaction::Server(server) => server.on_timer(timer),
        };
        self.on_fate(now, id, fate);
    }

    fn on_dialog_timer(&mut self, now: Time, id: DialogId, timer: Timer) {
        match timer {
            Timer::InviteTimeout => {
                self.cancel(now, id, Cause::TimedOut);
                self.on_offer_timeout(now, id);
            }
            Timer::Provisional => self.ring_reliably_again(now, id),
            Timer::NoPrack => self.on_no_prack(now, id),
            Timer::Refresh => self.refresh(now, id),
            Timer::Expiry => self.on_expiry(now, id),
            Timer::Offer => self.send_offer(now, id),
            Timer::CancelGrace => self.on_cancel_unheard(id),
            Timer::Unheard => self.on_unheard(now, id),
            Timer::Ringing => self.ring_again(now, id),
            Timer::Answer => self.answer_again(now, id),
            Timer::NoAck => self.on_no_ack(now, id),
            Timer::A
            | Timer::B
            | Timer::D
            | Timer::E
            | Timer::F
            | Timer::G
            | Timer::H
            | Timer::I
            | Timer::J
            | Timer::K
            | Timer::L
            | Timer::M => {}
        }
    }

    /// Repeats a 2xx (RFC 3261 section 13.3.1.4).
    fn answer_again(&mut self, now: Time, id: DialogId) {
        let Some(Dialog {
            state: State::Up(up), ..
        }) = self.dialogs.get_mut(id)
        else {
            return;
        };
        let Some(unacked) = &mut up.unacked else { return };
        unacked.interval = self.shared.timings.next_interval(unacked.interval);
        let mut cx = self.shared.dialog(now, id);
        cx.resend(unacked.path, unacked.response.clone());
        cx.arm(Timer::Answer, unacked.interval);
    }

    /// The ACK never came: the session is ended (RFC 3261 section 13.3.1.4).
    fn on_no_ack(&mut self, now: Time, id: DialogId) {
        let Some(Dialog {
            state: State::Up(up), ..
        }) = self.dialogs.get_mut(id)
        else {
            return;
        };
        let Some(unacked) = up.unacked.take() else { return };
        match unacked.then {
            AfterAck::Stay => {
                self.bye(now, id, None, Report::Silent);
                self.tell(Event::Terminated {
                    dialog: id,
                    cause: Termination::NoAck,
                });
            }
            AfterAck::HangUp { reason } => self.bye(now, id, reason.as_deref(), Report::Tell),
        }
    }
}
