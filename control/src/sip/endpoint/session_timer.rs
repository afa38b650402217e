//! Session timers (RFC 4028): what is agreed in each INVITE and UPDATE, who refreshes, what ends.
//!
//! What is agreed is [`session_timer`]'s; here it is written into messages and watched. A refresh is an UPDATE where the
//! other side takes one, else a re-INVITE with the SDP that is in force.

use std::time::Duration;

use super::super::api::{DialogId, Failure, Termination};
use super::super::dialog::session_timer::{self, SessionTimer, Terms, TooSmall};
use super::super::dialog::{Asker, Cancel, Dialog, State};
use super::super::policy::{Extension, Policies, Policy, Refresher};
use super::super::syntax::fields::Fields;
use super::super::syntax::{Request, Response};
use super::super::transaction::{Timer, TransactionId};
use super::super::within::{Within, WithinMethod};
use super::Endpoint;
use super::purpose::Refusal;
use super::request::Ended;
use crate::time::Time;

/// A session ends so long before its interval does, unless a third of it is less (RFC 4028 section 10).
const MARGIN: Duration = Duration::from_secs(32);

/// What a session is refreshed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshBy {
    Update,
    Reinvite,
}

impl Endpoint {
    /// The same, whose dialogs may do what these policies say.
    #[must_use]
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// The session timer of a dialog, if it has one.
    pub fn session_timer(&self, dialog: DialogId) -> Option<SessionTimer> {
        self.dialogs.get(dialog)?.timer
    }

    /// What dialogs of a trunk may do.
    pub(super) fn policy(&self, trunk: Option<&str>) -> Policy {
        let policy = trunk.and_then(|trunk| self.policies.get(trunk));
        policy.copied().unwrap_or_default()
    }

    /// What is agreed by answering a request of theirs.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn terms(policy: &Policy, request: &Request) -> Result<Option<Terms>, Refusal> {
        if policy.timers.extension == Extension::Required && !session_timer::is_supported(&request.fields) {
            return Err(Refusal::ExtensionRequired("timer"));
        }
        session_timer::answer(&policy.timers, &request.fields)
            .map_err(|TooSmall(least)| Refusal::IntervalTooSmall(least))
    }

    /// Our 2xx with these terms has been sent: the session begins, or begins anew.
    pub(super) fn on_terms_given(&mut self, now: Time, id: DialogId, terms: Option<Terms>) {
        self.run_session(now, id, terms.map(|terms| terms.timer));
    }

    /// The headers that an INVITE or UPDATE of ours has about it.
    pub(super) fn terms_asked(dialog: &Dialog) -> Vec<(String, String)> {
        session_timer::ask(&dialog.policy.timers, dialog.least, dialog.timer)
    }

    /// A 2xx to such a request came.
    pub(super) fn on_terms_taken(&mut self, now: Time, id: DialogId, fields: &Fields) {
        let Some(dialog) = self.dialogs.get(id) else { return };
        let agreed = session_timer::agreed(&dialog.policy.timers, dialog.least, dialog.timer, fields);
        self.run_session(now, id, agreed);
    }

    fn run_session(&mut self, now: Time, id: DialogId, timer: Option<SessionTimer>) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        if dialog.timer.is_some() {
            self.shared.counters.sessions_refreshed += 1;
        }
        dialog.timer = timer;
        let mut cx = self.shared.dialog(now, id);
        cx.disarm(Timer::Refresh);
        cx.disarm(Timer::Expiry);
        let Some(timer) = timer else { return };
        let interval = Duration::from_secs(timer.interval.into());
        match timer.refresher {
            Refresher::Us => cx.arm(Timer::Refresh, interval / 2),
            Refresher::Them => {}
        }
        // Where we refresh and are not heard, it ends as well.
        cx.arm(Timer::Expiry, interval - MARGIN.min(interval / 3));
    }

    /// It is time to refresh.
    pub(super) fn refresh(&mut self, now: Time, id: DialogId) {
        let Some(Dialog {
            takes_update,
            ours,
            state: State::Up(up),
            ..
        }) = self.dialogs.get(id)
        else {
            return;
        };
        if up.offering.is_some() {
            // Which refreshes, if it is answered.
            return self.refresh_later(now, id, None);
        }
        if *takes_update || ours.is_empty() {
            let update = Within {
                method: WithinMethod::Update,
                headers: Vec::new(),
                content: None,
            };
            if self.ask(now, id, update, Asker::Core).is_none() {
                self.refresh_later(now, id, None);
            }
        } else {
            let ours = ours.clone();
            self.begin_offer(now, id, ours, Asker::Core);
        }
    }

    /// Tries again after a while, as often as the session has time for.
    fn refresh_later(&mut self, now: Time, id: DialogId, wait: Option<Duration>) {
        let Some(timer) = self.dialogs.get(id).and_then(|dialog| dialog.timer) else {
            return;
        };
        if timer.refresher == Refresher::Us {
            let wait = wait.unwrap_or(Duration::from_secs(timer.interval.into()) / 16);
            self.shared.dialog(now, id).arm(Timer::Refresh, wait);
        }
    }

    /// A refresh of ours, by UPDATE or re-INVITE, was not accepted by a side that is there.
    pub(super) fn on_refresh_refused(&mut self, now: Time, id: DialogId, by: RefreshBy, ended: Ended<'_>) {
        if let Ended::Response(response) = ended
            && response.status == 422
            && self.on_too_small(id, &response.fields)
        {
            return self.refresh(now, id);
        }
        let wait = ended.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        match (by, ended.status()) {
            // Whatever it has against UPDATE, a re-INVITE it must take.
            (RefreshBy::Update, 300..=490 | 492..=499 | 501) if !dialog.ours.is_empty() => {
                dialog.takes_update = false;
                self.refresh(now, id);
            }
            (RefreshBy::Update | RefreshBy::Reinvite, _) => self.refresh_later(now, id, wait),
        }
    }

    /// Nobody has refreshed the session in time.
    pub(super) fn on_expiry(&mut self, now: Time, id: DialogId) {
        if self.up_mut(id).is_some() {
            self.shared.counters.sessions_expired += 1;
            // Q.850: recovery on timer expiry.
            let reason = "Q.850;cause=102;text=\"session timer expired\"";
            self.end_by_itself(now, id, reason, Termination::SessionExpired);
        }
    }

    /// A 422 wants a longer session; false if it does not say a longer one than was asked for.
    fn on_too_small(&mut self, id: DialogId, refusal: &Fields) -> bool {
        let Some(dialog) = self.dialogs.get_mut(id) else {
            return false;
        };
        let policy = dialog.policy.timers;
        let asked = dialog.timer.map_or(policy.expires, |timer| timer.interval);
        let asked = asked.max(policy.least).max(dialog.least);
        match session_timer::least_of(refusal) {
            Some(least) if least > asked && policy.extension != Extension::Off => {
                dialog.least = least;
                true
            }
            Some(_) | None => false,
        }
    }

    /// 422 to the INVITE that is to begin a dialog: it is sent again with a longer session, or has failed.
    pub(super) fn on_invite_too_small(&mut self, now: Time, invite: TransactionId, id: DialogId, response: &Response) {
        let is_wanted = matches!(
            self.dialogs.get(id).map(|dialog| &dialog.state),
            Some(State::Calling(calling)) if calling.cancel == Cancel::No
        );
        if !is_wanted || !self.on_too_small(id, &response.fields) {
            return self.on_failure(id, response.status, &response.reason, Failure::refused());
        }
        self.invite_again(now, invite, id);
    }
}
