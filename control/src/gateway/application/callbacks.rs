//! What applications and their owners are told of calls: the parameters of every request, and status callbacks.

use std::time::SystemTime;

use super::Core;
use crate::call::{Call, CallId, Cause, StreamState};
use crate::config::model::{CallEvent, StatusCallback};
use crate::gateway::live::Live;
use crate::ops::timestamp::rfc_2822;
use crate::rest::resource::call_sid;
use crate::twiml::verbs::Stream;
use crate::web::{Request, Wants};

/// Twilio's version of these parameters.
const API_VERSION: &str = "2010-04-01";

impl Core {
    /// What every request says of a call.
    pub(super) fn usual_parameters(&self, live: &Live) -> Vec<(String, String)> {
        let status = match live.answered {
            Some(_) => "in-progress",
            None => "ringing",
        };
        self.parameters(live, status)
    }

    fn parameters(&self, live: &Live, status: &str) -> Vec<(String, String)> {
        let account = self.config.account(live.route.tenant.as_deref());
        let (from, to) = (live.from.as_str(), live.route.number.as_str());
        let sid = call_sid(live.id());
        let told = [
            ("CallSid", sid.as_str()),
            ("AccountSid", &account.sid),
            ("From", from),
            ("To", to),
            ("Caller", from),
            ("Called", to),
            ("CallStatus", status),
            ("ApiVersion", API_VERSION),
            ("Direction", direction(&live.call)),
        ];
        told.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Something has happened to a call, of which its application's owner may want to know.
    pub(in crate::gateway) fn tell_owner(&mut self, id: CallId, event: CallEvent) {
        let Some(live) = self.calls.get(&id) else { return };
        let status = match event {
            CallEvent::Initiated => "initiated",
            CallEvent::Ringing => "ringing",
            CallEvent::Answered => "in-progress",
            // Told with how it has ended: `tell_owner_of_end`.
            CallEvent::Completed => return,
        };
        let told = self.parameters(live, status);
        self.call_back(id, event, told);
    }

    /// The call is over.
    pub(in crate::gateway) fn tell_owner_of_end(&mut self, id: CallId, cause: &Cause) {
        let Some(live) = self.calls.get(&id) else { return };
        let refused_with = live.refused_with.or(cause.status);
        let mut told = self.parameters(live, self.final_status(live, cause).name());
        let seconds = live.answered.and_then(|answered| answered.elapsed().ok());
        let seconds = seconds.map_or(0, |duration| duration.as_secs());
        told.push(("CallDuration".to_owned(), seconds.to_string()));
        // In minutes, begun ones whole.
        told.push(("Duration".to_owned(), seconds.div_ceil(60).to_string()));
        let sip = refused_with.filter(|_| live.answered.is_none()).unwrap_or(200);
        told.push(("SipResponseCode".to_owned(), sip.to_string()));
        self.call_back(id, CallEvent::Completed, told);
    }

    fn call_back(&mut self, id: CallId, event: CallEvent, mut told: Vec<(String, String)>) {
        let tenant = self.calls.get(&id).and_then(|live| live.route.tenant.as_deref());
        let account = self.config.account(tenant);
        let applied = self.calls.get_mut(&id).and_then(|live| live.applied.as_mut());
        let Some(applied) = applied else { return };
        let is_new = !applied.past.contains(&event);
        let wanted = |callback: &&StatusCallback| is_new && callback.events.contains(&event);
        let Some(callback) = applied.rules.status_callback.as_ref().filter(wanted) else {
            return;
        };
        let extra = [
            ("CallbackSource", "call-progress-events".to_owned()),
            ("SequenceNumber", applied.told.to_string()),
            ("Timestamp", rfc_2822(SystemTime::now())),
        ];
        told.extend(extra.map(|(name, value)| (name.to_owned(), value)));
        applied.told += 1;
        applied.past.push(event);
        let request = Request {
            link: callback.link.clone(),
            parameters: told,
            auth_token: account.auth_token,
            hosts: account.allowed_hosts,
            wants: Wants::Nothing,
        };
        self.totals.applications.callbacks += 1;
        self.tell_of(id, request);
    }

    /// Whoever has asked for it is told how a stream goes.
    pub(in crate::gateway) fn tell_of_stream(&mut self, id: CallId, stream: &Stream, sid: &str, state: &StreamState) {
        let Some(link) = &stream.status_callback else { return };
        let Some(live) = self.calls.get(&id) else { return };
        let (event, error) = match state {
            StreamState::Started => ("stream-started", None),
            StreamState::Stopped => ("stream-stopped", None),
            StreamState::Failed(why) => ("stream-error", Some(why.clone())),
        };
        let account = self.config.account(live.route.tenant.as_deref());
        let named = |name: &str, value: String| (name.to_owned(), value);
        let mut told = vec![
            named("AccountSid", account.sid),
            named("CallSid", call_sid(id)),
            named("StreamSid", sid.to_owned()),
            named("StreamEvent", event.to_owned()),
            named(
                "Timestamp",
                crate::ops::timestamp::Timestamp::from(SystemTime::now()).to_string(),
            ),
        ];
        told.extend(stream.name.clone().map(|name| named("StreamName", name)));
        told.extend(error.map(|error| named("StreamError", error)));
        let request = Request {
            link: link.clone(),
            parameters: told,
            auth_token: account.auth_token,
            hosts: account.allowed_hosts,
            wants: Wants::Nothing,
        };
        self.totals.applications.callbacks += 1;
        self.tell_of(id, request);
    }
}

fn direction(call: &Call) -> &'static str {
    match call.is_placed() {
        true => "outbound-api",
        false => "inbound",
    }
}
